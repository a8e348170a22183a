/**
 * How this copy of the program is called, and where it keeps its state.
 *
 *   a checkout     npm start, npm run key    <checkout>/.holdfast
 *   the package    holdfast, holdfast key    the user's folder for data: npm may delete the package's at any time
 */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { buildBundle, ROOT } from "./bundle.ts";

interface Invocation {
  /** Options go behind it, as in a shell. */
  start: string;
  key: string;
  /** The usual storage folder. */
  storage: string;
  storageInHelp: string;
  /** Whoever has no npm calls it like this. */
  withoutNpm: { start: string; key: string } | undefined;
}

/** A checkout has the sources, the package what was built of them. */
const IS_CHECKOUT = existsSync(join(ROOT, "src"));

/** Where tools/package.ts puts the Worker, below the package's folder. */
const PACKAGED_WORKER = "lib/worker";

export const INVOCATION: Invocation = IS_CHECKOUT
  ? {
      start: "npm start --",
      key: "npm run key --",
      storage: join(ROOT, ".holdfast"),
      storageInHelp: ".holdfast in this project's folder",
      withoutNpm: {
        start: "node scripts/bootstrap.mjs scripts/start.ts",
        key: "node scripts/bootstrap.mjs scripts/key.ts",
      },
    }
  : {
      start: "holdfast",
      key: "holdfast key",
      storage: join(dataFolder(process.env.XDG_DATA_HOME), "holdfast"),
      storageInHelp: "$XDG_DATA_HOME/holdfast, else ~/.local/share/holdfast",
      withoutNpm: undefined,
    };

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
