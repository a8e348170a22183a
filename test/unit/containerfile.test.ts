import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

it("examples/Containerfile copies every folder that npm start needs, and no other", async () => {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ["scripts/start.ts", "src/index.ts", "page/main.ts"],
    bundle: true,
    write: false,
    outdir: "unused",
    metafile: true,
    platform: "node",
    format: "esm",
    packages: "external",
    external: ["holdfast-page", "cloudflare:*"],
    loader: { ".css": "empty" },
  });
  const needed = new Set(Object.keys(metafile.inputs).map((path) => path.split("/")[0]));
  const file = readFileSync(join(ROOT, "examples/Containerfile"), "utf8");
  const copied = [...file.matchAll(/^COPY \S+ (\w+) \1$/gm)].map(([, folder]) => folder);
  expect(copied.toSorted()).toEqual([...needed].toSorted());
});
