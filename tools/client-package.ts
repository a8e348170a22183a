/**
 * `holdfast/client` as it is published.
 *
 *     src/client/ ──rolldown──▶ one module, no import left ──terser──▶ client.js
 *                 ──tsc───────▶ types/…        what it exports, checked against a browser's types alone
 *
 * Node runs no TypeScript inside node_modules, and a browser runs none at all.
 *
 * eventsource-parser is inside, 3.0.6 of it: in this bundle the releases since then weigh 280 (3.0.7) to 900 bytes (4.1.3)
 * more. What they have over it is speed: its time grows with the square of a piece. event-tail.ts gives it one line at a
 * time, and leaves the middle of a long one out.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { type MinifyOptions, minify } from "terser";
import { ROOT } from "./bundle.ts";
import { OutputTail } from "./child-process.ts";

/** Where the package finds it. */
export const LIB = join(ROOT, "lib");
/** What a page may cost for its answers to survive. */
export const CLIENT_LIMIT_BYTES = 6_000;

/**
 * Over what rolldown has minified, 160 bytes less. No function here is called with `new`: all of them may be arrows. To read a
 * property does nothing here but read it.
 */
const TERSER: MinifyOptions = {
  module: true,
  ecma: 2020,
  compress: { passes: 3, hoist_funs: true, unsafe_arrows: true, pure_getters: true },
};

export interface ClientBundle {
  minified: number;
  gzipped: number;
  /** Files of the checkout that went into it. */
  modules: string[];
}

export async function buildClient(target: string): Promise<ClientBundle> {
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  const [bundled] = await Promise.all([bundle(join(target, "client.js")), declare(join(target, "types"))]);
  return bundled;
}

async function bundle(file: string): Promise<ClientBundle> {
  const bundling = await rolldown({ input: join(ROOT, "src/client/index.ts"), platform: "neutral" });
  const { output } = await bundling.generate({ format: "esm", minify: true });
  await bundling.close();
  const { code: whole, moduleIds } = output[0];
  const { code = "" } = await minify(whole, TERSER);
  await writeFile(file, code);
  return {
    minified: Buffer.byteLength(code),
    gzipped: gzipSync(code, { level: 9 }).length,
    modules: moduleIds.map((id) => relative(ROOT, id)),
  };
}

async function declare(target: string): Promise<void> {
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const child = spawn(process.execPath, [tsc, "-p", join(ROOT, "src/client"), "--outDir", target]);
  const output = new OutputTail().follow(child.stdout, child.stderr);
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`Cannot write the client's types: tsc ended with ${code}. ${output.quote()}`);
  const wanted = await reachable(join(target, "client/index.d.ts"));
  for (const name of await readdir(target, { recursive: true })) {
    if (name.endsWith(".d.ts") && !wanted.has(join(target, name))) await rm(join(target, name));
  }
}

/** The types that this file needs, itself included. Rewrites their imports: `nodenext` looks for what stands there. */
async function reachable(file: string, found = new Set<string>()): Promise<Set<string>> {
  if (found.has(file)) return found;
  found.add(file);
  const types = await readFile(file, "utf8");
  await writeFile(file, types.replace(/(from "\.[^"]*)\.ts"/g, '$1.js"'));
  for (const [, path = ""] of types.matchAll(/from "(\.[^"]*)\.ts"/g)) {
    await reachable(join(dirname(file), `${path}.d.ts`), found);
  }
  return found;
}
