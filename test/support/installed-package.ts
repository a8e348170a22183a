/** The package as an app gets it: `npm pack`, then `npm install` of that file in a folder of its own, without a network. */
import { execFile } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../../tools/bundle.ts";
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
  const dependencies = { holdfast: `file:${tarball}`, workerd: `file:${await standInForWorkerd(folder)}` };
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", private: true, dependencies }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund"], { cwd: folder });
  return join(folder, "node_modules/holdfast");
}

/** Of the version that the package wants, so that npm has nothing to ask for: it names the binary that is here already. */
async function standInForWorkerd(folder: string): Promise<string> {
  const { default: binary }: { default: string } = createRequire(import.meta.url)("workerd");
  const { version } = JSON.parse(await readFile(join(ROOT, "node_modules/workerd/package.json"), "utf8"));
  await mkdir(join(folder, "workerd"));
  await writeFile(join(folder, "workerd/package.json"), JSON.stringify({ name: "workerd", version }));
  await writeFile(join(folder, "workerd/index.js"), `exports.default = ${JSON.stringify(binary)};\n`);
  return "workerd";
}
