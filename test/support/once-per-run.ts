/**
 * Work whose result all files of tests share: a bundle, a package. The first file that wants it does it, the others wait:
 * files run in processes of their own, several at a time.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../../tools/wait.ts";

/** A folder of this run of scripts/test.ts. */
const RUN = process.env.HOLDFAST_TEST_RUN;
/** Longer than any such work takes, the install of the examples' packages too. */
const DEADLINE_MS = 110_000;

const here = new Map<string, Promise<string>>();

/** Calls `work` with a folder to fill, and returns that folder when it is filled. Nobody writes to it then. */
export function oncePerRun(name: string, work: (folder: string) => Promise<void>): Promise<string> {
  let filled = here.get(name);
  if (!filled) {
    filled = fill(name, work);
    here.set(name, filled);
  }
  return filled;
}

async function fill(name: string, work: (folder: string) => Promise<void>): Promise<string> {
  if (RUN === undefined) throw new Error("Start the tests with npm test: it makes the folder of the run");
  const folder = join(RUN, name);
  const outcome = join(RUN, `${name}.outcome`);
  if (await isFirstToMake(folder)) {
    const failure = await work(folder).then(() => "", String);
    await writeFile(`${outcome}.new`, failure);
    await rename(`${outcome}.new`, outcome);
  }
  await until(() => existsSync(outcome), `another file of tests has made: ${name}`, DEADLINE_MS);
  const failure = await readFile(outcome, "utf8");
  if (failure !== "") throw new Error(`Cannot make ${name}: ${failure}`);
  return folder;
}

async function isFirstToMake(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}
