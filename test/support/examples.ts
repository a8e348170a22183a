/** The packages of the examples, which have a package.json of their own: they are heavy, and only the examples need them. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { ROOT } from "../../tools/bundle.ts";
import { packPackage } from "./installed-package.ts";
import { oncePerRun } from "./once-per-run.ts";

export const EXAMPLES = join(ROOT, "examples");

const run = promisify(execFile);
const LOCK = join(EXAMPLES, "package-lock.json");
/** A copy of the lock file, written when all of it was installed. */
const INSTALLED = join(EXAMPLES, "node_modules/.installed-lock.json");

/** Installs what the examples need, unless that was done before, and builds the `holdfast/client` that they import. */
export async function installExamples(): Promise<void> {
  await packPackage();
  await oncePerRun("examples", install);
}

async function install(): Promise<void> {
  if (existsSync(INSTALLED) && readFileSync(INSTALLED, "utf8") === readFileSync(LOCK, "utf8")) return;
  await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: EXAMPLES });
  await copyFile(LOCK, INSTALLED);
}

/** One of their packages. Its types are not at hand here: the caller says which part it uses. */
export async function importFromExamples<Module>(name: string): Promise<Module> {
  await installExamples();
  const require = createRequire(join(EXAMPLES, "package.json"));
  return (await import(pathToFileURL(require.resolve(name)).href)) as Module;
}
