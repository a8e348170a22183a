/**
 * How this copy of the program is called, and where it keeps its state.
 *
 *   a checkout     npm start, npm run key    <checkout>/.holdfast
 *   the package    holdfast, holdfast key    the user's folder for data: npm may delete the package's at any time
 *   below npx      npx ./FILE.tgz, …         the same folder
 */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, relative, resolve } from "node:path";
import { buildBundle, ROOT } from "./bundle.ts";

interface Invocation {
  /** Options go behind it, as in a shell. */
  start: string;
  key: string;
  conformance: string;
  /** Before a start without a network; a checkout's start installs all that it needs. */
  install: string;
  /** The usual storage folder. */
  storage: string;
  storageInHelp: string;
  /** Whoever has no npm calls it like this. */
  withoutNpm: { start: string; key: string } | undefined;
}

/** A checkout has the sources, the package what was built of them. */
export const IS_CHECKOUT = existsSync(join(ROOT, "src"));

/** The package's folder among the user's data. */
export const DATA_FOLDER = join(dataFolder(process.env.XDG_DATA_HOME), "holdfast");

/** Where tools/package.ts puts the Worker, below the package's folder. */
const PACKAGED_WORKER = "lib/worker";

export const INVOCATION: Invocation = IS_CHECKOUT
  ? {
      start: "npm start --",
      key: "npm run key --",
      conformance: "npm run conformance --",
      install: "npm ci",
      storage: join(ROOT, ".holdfast"),
      storageInHelp: ".holdfast in this project's folder",
      withoutNpm: {
        start: "node scripts/bootstrap.mjs scripts/start.ts",
        key: "node scripts/bootstrap.mjs scripts/key.ts",
      },
    }
  : {
      start: packageCommand(),
      key: `${packageCommand()} key`,
      conformance: `${packageCommand()} conformance`,
      install: `${packageCommand()} install`,
      storage: DATA_FOLDER,
      storageInHelp: "$XDG_DATA_HOME/holdfast, else ~/.local/share/holdfast",
      withoutNpm: undefined,
    };

/** npx puts the command on nobody's PATH: whoever called it so has to call it so again. */
function packageCommand(): string {
  if (process.env.npm_lifecycle_event !== "npx") return "holdfast";
  // Where npm wrote down what it installed us from.
  const folder = join(ROOT, "../..");
  const manifest = join(folder, "package.json");
  const { dependencies }: { dependencies?: Record<string, string> } = existsSync(manifest)
    ? JSON.parse(readFileSync(manifest, "utf8"))
    : {};
  const [, file] = /^file:(.*\.tgz)$/.exec(dependencies?.holdfast ?? "") ?? [];
  if (file === undefined) return "npx holdfast";
  const path = relative(process.cwd(), resolve(folder, file));
  // npm takes an absolute path for a command of the shell.
  return `npx ${path.startsWith("..") ? path : `./${path}`}`;
}

/** The folder with the Worker's bundle: a checkout builds it, from what the sources are now. */
export async function workerBundle(storage: string, say: (line: string) => void): Promise<string> {
  if (!IS_CHECKOUT) return join(ROOT, PACKAGED_WORKER);
  say("building the Worker …");
  return await buildBundle(join(storage, "bundle"));
}

/** The XDG specification: a relative path is not valid, and must be ignored. */
function dataFolder(given: string | undefined): string {
  return given !== undefined && isAbsolute(given) ? given : join(homedir(), ".local/share");
}
