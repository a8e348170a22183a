/** The package as an app gets it: `npm pack`, then `npm install` of that file in a folder of its own, without a network. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../../tools/bundle.ts";
import { workerdBeside } from "../../tools/workerd.ts";
import { oncePerRun } from "./once-per-run.ts";

const run = promisify(execFile);

/** The folder with the package's file. `npm pack` builds lib/ first, from nothing: nobody else may build it meanwhile. */
export function packPackage(): Promise<string> {
  return oncePerRun("package", async (folder) => {
    await run("npm", ["pack", "--pack-destination", folder, "--loglevel=error"], { cwd: ROOT });
  });
}

/** Returns the package's folder. */
export async function installPackage(folder: string): Promise<string> {
  const packed = await packPackage();
  const [tarball = ""] = await readdir(packed);
  await copyFile(join(packed, tarball), join(folder, tarball));
  const dependencies = { holdfast: `file:${tarball}` };
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", private: true, dependencies }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund"], { cwd: folder });
  return join(folder, "node_modules/holdfast");
}

/**
 * As if an app had installed workerd itself: beside the package, of the version that it wants unless another is given. It
 * names the binary that is here already.
 */
export async function putWorkerdBeside(folder: string, version = pinnedWorkerd()): Promise<void> {
  const place = join(folder, "node_modules/workerd");
  await mkdir(place);
  await writeFile(join(place, "package.json"), JSON.stringify({ name: "workerd", version }));
  await writeFile(join(place, "index.js"), `exports.default = ${JSON.stringify(workerdBeside())};\n`);
}

/** The version that package.json names. */
export function pinnedWorkerd(): string {
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return devDependencies.workerd;
}
