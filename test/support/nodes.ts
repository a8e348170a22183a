import { spawnSync } from "node:child_process";
import { delimiter } from "node:path";

/** The Node of the tests, and the one that the machine has. */
export function nodes(): string[] {
  const outside = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  const { stdout } = spawnSync("which", ["node"], { env: { ...process.env, PATH: outside.join(delimiter) } });
  return [...new Set([process.execPath, stdout.toString().trim()])].filter(Boolean);
}
