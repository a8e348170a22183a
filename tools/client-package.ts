/**
 * `holdfast/client` as it is published.
 *
 *     src/client/ ──rolldown──▶ client.js      one module, no import left, minified
 *                 ──tsc───────▶ types/…        what it exports, checked against a browser's types alone
 *
 * Node runs no TypeScript inside node_modules, and a browser runs none at all.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { ROOT } from "./bundle.ts";
import { OutputTail } from "./child-process.ts";

/** Where the package finds it. */
export const LIB = join(ROOT, "lib");
/** What a page may cost for its answers to survive. */
export const CLIENT_LIMIT_BYTES = 6_000;

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
  const { code, moduleIds } = output[0];
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
