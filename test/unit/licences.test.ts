import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const LIST = readFileSync(join(ROOT, "docs/licences.md"), "utf8");
const LOCK = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  packages: Record<string, { license?: string }>;
};

describe("docs/licences.md", () => {
  it("has the licence of every package that is installed, and no other", () => {
    const listed = [...LIST.matchAll(/^\| ([^|]+?) +\|/gm)].map(([, name]) => name).slice(2);
    const installed = Object.entries(LOCK.packages).flatMap(([path, { license }]) =>
      path === "" ? [] : [license ?? `none: ${path}`],
    );
    expect([...new Set(installed)].toSorted()).toEqual(listed.toSorted());
  });

  it.each([
    ["the Worker", ["src"]],
    ["the page", ["page", "src/client"]],
    ["holdfast/client", ["src/client"]],
  ])("names all that %s has of others", (part, folders) => {
    const names = new Set(folders.flatMap((folder) => sources(join(ROOT, folder)).flatMap(packagesIn)));
    const [, named = ""] = LIST.split(`**In ${part}:** `)[1]?.match(/^(.*?)\./) ?? [];
    expect([...names].toSorted()).toEqual([...named.matchAll(/([\w/@-]+) \(/g)].map(([, name]) => name).toSorted());
  });
});

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(folder, name), "utf8"));
}

/** Without the platform's modules and our own. */
function packagesIn(source: string): string[] {
  return [...source.matchAll(/ from "([^".][^"]*)";/g)]
    .map(([, name = ""]) => name.split("/").slice(0, name.startsWith("@") ? 2 : 1))
    .map((parts) => parts.join("/"))
    .filter((name) => !/^(?:node|cloudflare):/.test(name) && !name.startsWith("holdfast"));
}
