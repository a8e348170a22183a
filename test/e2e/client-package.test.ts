/** `npm pack` and what an app gets of it: in an empty folder, on each Node, in a browser's bundle, and as types. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../tools/bundle.ts";
import { buildClient, CLIENT_LIMIT_BYTES, type ClientBundle } from "../../tools/client-package.ts";
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

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    await installPackage(folder);
    await writeFile(join(folder, "app.js"), APP);
    await writeFile(join(folder, "app.ts"), TYPED_APP);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("has no dependency but workerd, which its command runs", async () => {
    const installed = (await readdir(join(folder, "node_modules"))).filter((name) => !name.startsWith("."));
    expect(installed.sort()).toEqual(["holdfast", "workerd"]);
    expect(await readFile(join(folder, "node_modules/holdfast/lib/client.js"), "utf8")).not.toMatch(/workerd/);
  });

  it("holds built JavaScript and its types, and no source", async () => {
    const files = await readdir(join(folder, "node_modules/holdfast"), { recursive: true });
    expect(files.filter((name) => /(?<!\.d)\.ts$/.test(name))).toEqual([]);
    expect(files).toContain(join("lib", "client.js"));
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

  it("is made of the client, the wire's names and the table of families, and of nothing else of the server", async () => {
    const shared = bundle.modules.filter((file) => !file.startsWith("src/client/"));
    expect(shared.sort()).toEqual(["src/families.ts", "src/protocol.ts"]);
    const code = await readFile(join(folder, "client.js"), "utf8");
    expect(code).not.toMatch(/\bimport\b|cloudflare|sqlite|param:null|llama/i);
  });
});
