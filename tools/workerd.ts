/**
 * Where the binary of workerd is, Cloudflare's open-source runtime, and how it gets there.
 *
 *   a checkout                                     node_modules, by package-lock.json
 *   the package, and the same version beside it    that one
 *   the package else                               <data>/workerd/<version>, where npm installs it once
 *
 * The package has no dependencies: npm would install them before any of our code runs, in silence, and for those too
 * who want holdfast/client alone. A folder of a version is whole or not there: it is filled under another name first.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";
import { DATA_FOLDER, IS_CHECKOUT } from "./invocation.ts";
import { installOnce, npmCi } from "./npm-install.mjs";
import { WORKERD_LOCK_FILE, type WorkerdLock, workerdInstall } from "./workerd-lock.ts";

/** All versions, each in a folder of its name. */
const FOLDER = join(DATA_FOLDER, "workerd");
/** The name of a folder that is not whole begins so. */
const UNFINISHED = ".installing-";
/** On Linux; the others differ by a few. */
const SIZE = { download: "45 MB", onDisk: "145 MB" };
// The user's settings of npm are for projects of theirs.
const INSTALL_FLAGS = ["--ignore-scripts", "--install-strategy=hoisted"];

/** Installs it where it must. Throws with what to do about it. */
export async function requireWorkerd(say: (line: string) => void): Promise<string> {
  if (IS_CHECKOUT) return workerdBeside();
  const lock = lockOfPackage();
  const beside = wholeBeside(lock.version);
  if (beside !== undefined) return beside;
  try {
    return await ownWorkerd(lock, say);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `${why}\nIt goes into ${FOLDER} (XDG_DATA_HOME says where). Where workerd@${lock.version} is installed beside ` +
        "holdfast, with whatever package manager, that one is used.",
      { cause },
    );
  }
}

/** Those that older versions of the package left here. Call it when the present one has been seen to work. */
export function removeOlderWorkerds(): void {
  if (IS_CHECKOUT || !existsSync(FOLDER)) return;
  const { version } = lockOfPackage();
  for (const name of readdirSync(FOLDER)) {
    if (!isOlder(name, version)) continue;
    try {
      // One that runs goes on.
      rmSync(join(FOLDER, name), { recursive: true, force: true });
    } catch {
      // It takes room, no more; the next start tries again.
    }
  }
}

/** The package's main export, not its bin: that is a Node script around the binary when install scripts did not run. */
export function workerdBeside(): string {
  const { default: binary }: { default: string } = createRequire(import.meta.url)("workerd");
  return binary;
}

function wholeBeside(wanted: string): string | undefined {
  try {
    const { version }: { version: string } = createRequire(import.meta.url)("workerd/package.json");
    return version === wanted ? workerdBeside() : undefined;
  } catch {
    // There is none, as where the package is alone; or it lacks its binary, as npm's --omit=optional leaves it.
    return undefined;
  }
}

function lockOfPackage(): WorkerdLock {
  return JSON.parse(readFileSync(join(ROOT, "lib", WORKERD_LOCK_FILE), "utf8"));
}

async function ownWorkerd(lock: WorkerdLock, say: (line: string) => void): Promise<string> {
  const { name, files } = workerdInstall(lock, process.platform, process.arch);
  const folder = join(FOLDER, lock.version);
  const binaryBelow = (place: string) => join(place, "node_modules", name, "bin/workerd");
  const what = `workerd ${lock.version}`;
  await installOnce({
    what,
    lock: join(FOLDER, "installing"),
    isInstalled: () => existsSync(binaryBelow(folder)),
    install: async () => {
      say(`installing ${what}, which runs the gateway, into ${folder}, once:`);
      say(`some ${SIZE.download} to download, ${SIZE.onDisk} on disk …`);
      await filled(folder, async (unfinished) => {
        for (const [file, text] of Object.entries(files)) writeFileSync(join(unfinished, file), text);
        const arrived = () => {
          const amount = bytesBelow(join(unfinished, "node_modules"));
          return { amount, text: `${Math.round(amount / 1e6)} of some ${SIZE.onDisk} are here` };
        };
        await npmCi({ folder: unfinished, flags: INSTALL_FLAGS, what, say, arrived });
        requireRunnable(binaryBelow(unfinished), what);
      });
    },
    say,
  });
  return binaryBelow(folder);
}

/** `fill` gets a folder beside, which takes the wanted name when it is filled. Nobody else may be at it. */
async function filled(folder: string, fill: (unfinished: string) => Promise<void>): Promise<void> {
  // Of installs that were killed.
  for (const name of readdirSync(FOLDER)) {
    if (name.startsWith(UNFINISHED)) rmSync(join(FOLDER, name), { recursive: true, force: true });
  }
  const unfinished = mkdtempSync(join(FOLDER, UNFINISHED));
  const remove = () => {
    try {
      rmSync(unfinished, { recursive: true, force: true });
    } catch {
      // npm, just killed, was still writing: the next install removes it.
    }
  };
  process.once("exit", remove);
  try {
    await fill(unfinished);
    // One from which somebody took the binary.
    rmSync(folder, { recursive: true, force: true });
    renameSync(unfinished, folder);
  } finally {
    process.off("exit", remove);
    remove();
  }
}

/** Before it takes its place: the next start would find a binary there, and not that it is of no use. */
function requireRunnable(binary: string, what: string): void {
  const { status, signal, stderr, error } = spawnSync(binary, ["--version"], { encoding: "utf8" });
  if (status === 0) return;
  const why = error?.message ?? (stderr.trim() || `it ended with ${signal ?? status}`);
  throw new Error(
    `${what} is installed and does not run on this machine: ${why}\n` +
      "It needs glibc 2.35 or newer on Linux (Debian 12, Ubuntu 22.04; not Alpine), or macOS 13.5 or newer.",
  );
}

function bytesBelow(folder: string): number {
  try {
    const found = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const stats = found.map((name) => statSync(join(folder, name), { throwIfNoEntry: false }));
    return stats.reduce((sum, stat) => sum + (stat?.isFile() ? stat.size : 0), 0);
  } catch {
    // Not there yet; or npm, which moves and removes folders while we look, took one from under the look.
    return 0;
  }
}

/** Both as 1.20261023.1; what is no version is not older. */
function isOlder(name: string, version: string): boolean {
  if (!/^\d+\.\d+\.\d+$/.test(name)) return false;
  return name.localeCompare(version, "en", { numeric: true }) < 0;
}
