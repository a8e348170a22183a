/** `npm pack` and what an app gets of it: in an empty folder, on each Node, in a browser's bundle, and as types. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../tools/bundle.ts";
import { buildClient, CLIENT_LIMIT_BYTES, type ClientBundle } from "../../tools/client-package.ts";
import { within } from "../../tools/wait.ts";
import { Command } from "../support/command.ts";
import { installPackage } from "../support/installed-package.ts";
import { nodes } from "../support/nodes.ts";

const run = promisify(execFile);

const APP = `import { createResumingFetch, HoldfastError } from "holdfast/client";
const fetch = createResumingFetch({ url: "http://127.0.0.1:1", conversationId: "c1", giveUpAfterMs: 0 });
const error = await fetch("http://127.0.0.1:1/v1/chat/completions", { method: "POST", body: "{}" }).catch((e) => e);
console.log(error instanceof HoldfastError, error.code);
`;

const TYPED_APP = `import { type AnswerState, createResumingFetch, type LookupRow } from "holdfast/client";
const holdfast = createResumingFetch({
  url: "https://gateway.example",
  apiKey: async () => "key",
  conversationId: (url, init) => (url.pathname + init.method) as string | undefined,
  onState(state: AnswerState) {
    if (state.name === "ended" && state.how === "failed") console.log(state.error?.code, state.offset);
  },
});
export const standard: typeof globalThis.fetch = holdfast;
export const rows: Promise<LookupRow[]> = holdfast.lookup(["c1"]);
export const answer: Promise<Response> = holdfast.attach("c1", { from: 3 });
`;

describe("the package", () => {
  let folder: string;
  let installed: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    installed = await installPackage(folder);
    await writeFile(join(folder, "app.js"), APP);
    await writeFile(join(folder, "app.ts"), TYPED_APP);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("brings no other package, workerd neither: its command fetches that one when it starts a gateway", async () => {
    const names = (await readdir(join(folder, "node_modules"))).filter((name) => !name.startsWith("."));
    expect(names).toEqual(["holdfast"]);
    const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    const kinds = Object.keys(manifest).filter((field) => /dependencies$/i.test(field));
    expect(kinds).toEqual(["devDependencies"]);
  });

  it("names the workerd to fetch as package-lock.json does, for every machine that there is one for", async () => {
    const { packages } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
    const lock = JSON.parse(await readFile(join(installed, "lib/workerd-lock.json"), "utf8"));
    expect(lock.version).toBe(packages[""].devDependencies.workerd);
    expect(Object.keys(lock.binaries)).toHaveLength(5);
    for (const [name, binary] of Object.entries(lock.binaries)) {
      expect(packages[`node_modules/${name}`]).toMatchObject({ version: lock.version, ...Object(binary) });
    }
  });

  it("publishes these files: built JavaScript, its types, and no source", async () => {
    expect(await filesBelow(installed)).toEqual([
      "LICENSE",
      "README.md",
      "lib/THIRD-PARTY-NOTICES.txt",
      "lib/client.js",
      "lib/holdfast-<hash>.js",
      "lib/holdfast.js",
      "lib/types/client/holdfast-error.d.ts",
      "lib/types/client/index.d.ts",
      "lib/types/client/options.d.ts",
      "lib/types/client/resuming-fetch.d.ts",
      "lib/types/protocol.d.ts",
      "lib/worker/index.js",
      "lib/workerd-lock.json",
      "package.json",
      "wrangler.toml",
    ]);
  });

  it("has the licence of all that others wrote in it", async () => {
    const notices = await readFile(join(installed, "lib/THIRD-PARTY-NOTICES.txt"), "utf8");
    const inside = [...(await packagesInFiles(join(installed, "lib"))), ...(await packagesOfPage())];
    expect(inside).toEqual(expect.arrayContaining(["hono", "lean-qr", "idb"]));
    const headings = [...notices.matchAll(/^(\S+) \S+ \((.+)\), in (.+)$/gm)].map(([, ...words]) => words);
    expect(headings.map(([name]) => name)).toEqual([...new Set(inside)].toSorted());
    for (const name of inside) {
      const files = await readdir(join(ROOT, "node_modules", name));
      const licence = files.find((file) => /^licen[cs]e/i.test(file)) ?? "";
      expect(notices).toContain((await readFile(join(ROOT, "node_modules", name, licence), "utf8")).trim());
    }
    const document = await readFile(join(ROOT, "docs/licences.md"), "utf8");
    for (const [, part = "", list = ""] of document.matchAll(/\*\*In (.+?):\*\* (.+?)\./g)) {
      const noticed = headings.filter(([, , parts = ""]) => parts.split(", ").includes(part));
      expect(list, part).toBe(noticed.map(([name, licence]) => `${name} (${licence})`).join(", ") || "nothing");
    }
  });

  it.each(nodes())("works on the Node at %s", async (node) => {
    const { stdout } = await run(node, ["app.js"], { cwd: folder });
    expect(stdout).toBe("true unreachable\n");
  });

  it("is bundled for a browser", async () => {
    const entry = { contents: 'export * from "holdfast/client"', resolveDir: folder };
    const { outputFiles } = await build({
      stdin: entry,
      bundle: true,
      format: "esm",
      platform: "browser",
      write: false,
    });
    expect(outputFiles[0]?.text).toContain("HoldfastError");
    expect(outputFiles[0]?.text).not.toMatch(/\bimport\b|\brequire\(/);
  });

  it.each([
    ["bundler", "esnext", "ES2022,DOM", ""],
    ["nodenext", "nodenext", "ES2022,DOM", ""],
    ["nodenext", "nodenext", "ES2022", "node"],
  ])("has types for %s (module %s, lib %s, types %s)", async (resolution, module, lib, types) => {
    const options = ["--strict", "--noEmit", "--exactOptionalPropertyTypes", "--target", "es2022", "--types", types];
    const more = ["--module", module, "--moduleResolution", resolution, "--lib", lib];
    const roots = ["--typeRoots", join(ROOT, "node_modules/@types")];
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const skip = types === "" ? [] : ["--skipLibCheck"];
    await run(process.execPath, [tsc, ...options, ...more, ...roots, ...skip, "app.ts"], { cwd: folder }).catch(
      (error) => expect.unreachable(String(error.stdout)),
    );
  });
});

/** With what is in a chunk's name instead of its hash. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)));
  return [...new Set(files.map((name) => name.replace(/-[A-Z0-9]{8}\.js$/, "-<hash>.js")))].toSorted();
}

/** By the lines that esbuild puts before each module. */
async function packagesInFiles(lib: string): Promise<string[]> {
  const names = (await readdir(lib, { recursive: true })).filter((name) => name.endsWith(".js"));
  const texts = await Promise.all(names.map((name) => readFile(join(lib, name), "utf8")));
  return texts.flatMap((text) =>
    [...text.matchAll(/^\s*\/\/ .*node_modules\/((?:@[^/]+\/)?[^/]+)\//gm)].map(([, name = ""]) => name),
  );
}

/** Minified, and in the Worker as text: by what its sources import. */
async function packagesOfPage(): Promise<string[]> {
  const names = (await readdir(join(ROOT, "page"), { recursive: true })).filter((name) => name.endsWith(".ts"));
  const texts = await Promise.all(names.map((name) => readFile(join(ROOT, "page", name), "utf8")));
  return texts.flatMap((text) =>
    [...text.matchAll(/ from "((?:@[^/"]+\/)?[^./"][^/"]*)[^"]*"/g)].map(([, name = ""]) => name),
  );
}

describe("the client's bundle", () => {
  let folder: string;
  let bundle: ClientBundle;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-client-"));
    bundle = await buildClient(folder);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it(`weighs less than ${CLIENT_LIMIT_BYTES} bytes`, () => {
    console.log(`holdfast/client: ${bundle.minified} bytes, ${bundle.gzipped} gzipped`);
    expect(bundle.gzipped).toBeLessThan(CLIENT_LIMIT_BYTES);
  });

  it("is made of the client, the wire's names, the table of families and eventsource-parser, and of nothing else", async () => {
    const others = bundle.modules.filter((file) => !file.startsWith("src/client/"));
    const parser = "node_modules/eventsource-parser/dist/index.js";
    expect(others.sort()).toEqual([parser, "src/families.ts", "src/protocol.ts"]);
    const code = await readFile(join(folder, "client.js"), "utf8");
    expect(code).not.toMatch(/\bimport\b|cloudflare|sqlite|param:null|llama/i);
  });
});

describe("npm run audit", () => {
  let cache: string;

  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), "holdfast-audit-test-"));
  });
  afterAll(() => rm(cache, { recursive: true, force: true }));

  it("asks about all that is published, bundled or installed, and fails for a known hole in it", async () => {
    const asked: Record<string, string[]> = {};
    const hole = { id: 1, title: "A hole", severity: "high", url: "http://advisory", vulnerable_versions: "*" };
    const registry = createServer(async (request, answer) => {
      if (request.method === "POST") {
        Object.assign(asked, JSON.parse(gunzipSync(await buffer(request)).toString()));
        return void answer.end(JSON.stringify({ hono: [hole] }));
      }
      const versions = { "4.0.0": { name: "hono", version: "4.0.0" } };
      answer.end(JSON.stringify({ name: "hono", versions, "dist-tags": { latest: "4.0.0" } }));
    });
    await once(registry.listen(0, "127.0.0.1"), "listening");
    try {
      const address = registry.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const command = new Command("node", ["scripts/bootstrap.mjs", "scripts/audit.ts"], {
        cwd: ROOT,
        env: { npm_config_registry: `http://127.0.0.1:${port}`, npm_config_cache: cache },
      });
      expect(await within(command.exited, "its end", 60_000)).toBe(1);
      expect(command.stdout).toMatch(/hono .*\n.*high/);
      const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
      for (const name of ["hono", "idb", "smol-toml", "workerd"])
        expect(asked[name]).toEqual([lock.packages[`node_modules/${name}`].version]);
      expect(asked).not.toHaveProperty("vitest");
    } finally {
      registry.close();
    }
  });
});
