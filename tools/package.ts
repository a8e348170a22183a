/**
 * What `npm pack` packs: all of lib/, from nothing.
 *
 *     src/client/ ─────────rolldown──▶ lib/client.js, types         holdfast/client (client-package.ts)
 *     scripts/holdfast.ts ──esbuild──▶ lib/holdfast.js, chunks      plain JavaScript: Node 20 runs no TypeScript
 *     src/, page/ ─────────wrangler──▶ lib/worker/
 *     their bundlers' modules ───────▶ lib/THIRD-PARTY-NOTICES.txt  (bundled-packages.ts)
 *     package-lock.json ─────────────▶ lib/workerd-lock.json        which workerd the command installs (workerd-lock.ts)
 *
 * The command reads wrangler.toml beside lib/. At run time it needs Node, and workerd, which it finds or installs
 * (workerd.ts), and nothing else.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { buildBundle, ROOT } from "./bundle.ts";
import { type BundledPackage, bundledPackages, NOTICES_FILE, noticesOf } from "./bundled-packages.ts";
import { buildClient, type ClientBundle } from "./client-package.ts";
import { pageModules } from "./page.ts";
import { WORKERD_LOCK_FILE, workerdLock } from "./workerd-lock.ts";

/** The oldest Node that the command runs on. */
const NODE_TARGET = "node20.11";

export interface BuiltPackage {
  client: ClientBundle;
  /** What is in it of others. */
  packages: BundledPackage[];
}

export async function buildPackage(lib: string): Promise<BuiltPackage> {
  // The client first: it empties the folder.
  const client = await buildClient(lib);
  const [worker, command, page] = await Promise.all([
    bundleWorker(join(lib, "worker")),
    bundleCommand(lib),
    pageModules(),
  ]);
  const packages = await bundledPackages({
    "holdfast/client": client.modules,
    "the command": command,
    "the Worker": worker,
    "the page": page,
  });
  await writeFile(join(lib, NOTICES_FILE), noticesOf(packages));
  const lock = workerdLock(JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")));
  await writeFile(join(lib, WORKERD_LOCK_FILE), `${JSON.stringify(lock, undefined, 2)}\n`);
  return { client, packages };
}

/** Returns the modules that are in it. */
async function bundleWorker(folder: string): Promise<string[]> {
  await buildBundle(folder);
  const { sources }: { sources: string[] } = JSON.parse(await readFile(join(folder, "index.js.map"), "utf8"));
  return sources;
}

/** Returns the modules that are in it. */
async function bundleCommand(outdir: string): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { holdfast: "scripts/holdfast.ts" },
    outdir,
    bundle: true,
    // A command loads its own part only. All parts are beside each other: they find the package's folder by their own.
    splitting: true,
    chunkNames: "holdfast-[hash]",
    format: "esm",
    platform: "node",
    target: NODE_TARGET,
    packages: "bundle",
    metafile: true,
    logLevel: "error",
  });
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.keys(inputs).filter((path) => (inputs[path]?.bytesInOutput ?? 0) > 0),
  );
}
