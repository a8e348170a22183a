/**
 * What `npm pack` packs besides `holdfast/client`: the command, and the Worker that it serves.
 *
 *     scripts/holdfast.ts ──esbuild──▶ lib/holdfast.js, chunks      plain JavaScript: Node 20 runs no TypeScript
 *     src/, page/ ─────────wrangler──▶ lib/worker/
 *
 * Both read wrangler.toml beside lib/. At run time they need Node and workerd, and nothing else.
 */
import { join } from "node:path";
import { build } from "esbuild";
import { buildBundle, ROOT } from "./bundle.ts";

/** The oldest Node that the command runs on. */
const NODE_TARGET = "node20.11";

export async function buildProgram(lib: string): Promise<void> {
  await Promise.all([buildBundle(join(lib, "worker")), bundleCommand(lib)]);
}

async function bundleCommand(outdir: string): Promise<void> {
  await build({
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
    logLevel: "error",
  });
}
