/**
 * The Worker as `wrangler deploy` would upload it.
 *
 *     src/, wrangler.toml ──wrangler──▶ a fresh folder ──file by file──▶ where it is wanted
 *
 * Writes nothing into the checkout, which may be read-only, unless the wanted folder is in it. Asks the network for
 * nothing.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { guard, OutputTail, signalGroup } from "./child-process.ts";

export const ROOT = resolve(import.meta.dirname, "..");
export const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
/** Where `npm run build` puts the bundle. */
export const DIST = join(ROOT, "dist");

/** Without these wrangler asks Cloudflare and the npm registry before it works, and waits seconds when it has no internet. */
export const NO_NETWORK = {
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_WRITE_LOGS: "false",
};

/** Bundles the Worker into `target`, all imports resolved, and returns that folder. Safe to run twice at once. */
export async function buildBundle(target: string): Promise<string> {
  await mkdir(target, { recursive: true });
  // In the target, so that a file moves there in one step.
  const work = await mkdtemp(join(resolve(target), ".build-"));
  const removeWork = () => rmSync(work, { recursive: true, force: true });
  process.once("exit", removeWork);
  try {
    const fresh = join(work, "out");
    await runWrangler(await standIn(work), fresh);
    // File by file, each atomically: a whole folder cannot be replaced in one step.
    const files = await readdir(fresh);
    for (const file of files) await rename(join(fresh, file), join(target, file));
    for (const file of await readdir(target)) {
      // Another build may be at work.
      if (!files.includes(file) && !file.startsWith(".build-"))
        await rm(join(target, file), { recursive: true, force: true });
    }
    return target;
  } finally {
    process.off("exit", removeWork);
    removeWork();
  }
}

/** A folder with links to all that is in the checkout: wrangler keeps its own files beside wrangler.toml. */
async function standIn(work: string): Promise<string> {
  const folder = join(work, "checkout");
  await mkdir(folder);
  for (const name of await readdir(ROOT)) {
    if (!name.startsWith(".") && name !== "dist") await symlink(join(ROOT, name), join(folder, name));
  }
  return folder;
}

async function runWrangler(folder: string, outdir: string): Promise<void> {
  const wrangler = spawn(process.execPath, [WRANGLER, "deploy", "--dry-run", "--outdir", outdir], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...NO_NETWORK },
    // wrangler is a chain of processes: a group of its own, so that all of them can be ended.
    detached: true,
  });
  guard(wrangler, { group: true });
  const end = () => signalGroup(wrangler, "SIGKILL");
  process.once("exit", end);
  const output = new OutputTail().follow(wrangler.stdout, wrangler.stderr);
  try {
    const [code] = await once(wrangler, "close");
    if (code !== 0) throw new Error(`Cannot bundle the Worker: wrangler ended with ${code}. ${output.quote()}`);
  } finally {
    process.off("exit", end);
  }
}
