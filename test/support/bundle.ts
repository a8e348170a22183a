import { buildBundle } from "../../tools/bundle.ts";
import { oncePerRun } from "./once-per-run.ts";

/** The folder with the Worker as `wrangler deploy` would upload it. */
export function workerBundle(): Promise<string> {
  return oncePerRun("bundle", async (folder) => void (await buildBundle(folder)));
}
