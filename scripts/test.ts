/**
 * npm test: every suite, against the demo origin. Needs nothing but this repository.
 * npm run test:llama: the suites that talk HTTP, once more against a real llama-server.
 *
 * `--json FILE` also writes vitest's report there. All other arguments go to vitest: `npm test -- -t resume`.
 */
import { spawn } from "node:child_process";
import { accessSync, constants as file, rmSync, statSync } from "node:fs";
import { constants } from "node:os";
import { join, resolve } from "node:path";
import { NO_NETWORK } from "./gateway.ts";

const ROOT = resolve(import.meta.dirname, "..");
const ALL_PROJECTS = ["unit", "workers", "conformance", "e2e"];
const LLAMA_PROJECTS = ["conformance", "e2e"];

const HOW_TO_GET_ONE = `
These tests run against a real llama-server. Build llama.cpp (https://github.com/ggml-org/llama.cpp) or install a
package of it, then:

  LLAMA_SERVER=/path/to/llama-server npm run test:llama

They start it with the model tiny.gguf beside it, or the one that LLAMA_MODEL names.`;

const args = process.argv.slice(2);
const llama = takeFlag("--llama");
const json = takeValue("--json");
const llamaServer = llama ? requireLlamaServer() : undefined;

const chosen = args.some((arg) => arg === "--project" || arg.startsWith("--project="));
const projects = chosen ? [] : (llama ? LLAMA_PROJECTS : ALL_PROJECTS).map((name) => `--project=${name}`);
const reporters = json === undefined ? [] : ["--reporter=default", "--reporter=json", `--outputFile.json=${json}`];
// A report of an earlier run must not be taken for ours.
if (json !== undefined) rmSync(json, { force: true });

const { LLAMA_SERVER: _, ...env } = process.env;
const vitest = spawn(
  process.execPath,
  [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", ...projects, ...reporters, ...args],
  {
    cwd: ROOT,
    stdio: "inherit",
    // Without --llama a LLAMA_SERVER that happens to be set changes nothing.
    env: { ...env, ...NO_NETWORK, ...(llamaServer !== undefined && { LLAMA_SERVER: llamaServer }) },
  },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => vitest.kill(signal));
// scripts/bootstrap.mjs was killed.
process.on("disconnect", () => vitest.kill("SIGTERM"));
vitest.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));

function takeFlag(name: string): boolean {
  const at = args.indexOf(name);
  if (at >= 0) args.splice(at, 1);
  return at >= 0;
}

function takeValue(name: string): string | undefined {
  const at = args.indexOf(name);
  if (at < 0) return undefined;
  const [, value] = args.splice(at, 2);
  if (value === undefined) return misused(`${name} needs a value`);
  return resolve(value);
}

function requireLlamaServer(): string {
  const given = process.env.LLAMA_SERVER;
  if (!given) return misused(`LLAMA_SERVER is not set.\n${HOW_TO_GET_ONE}`);
  const path = resolve(given);
  try {
    accessSync(path, file.X_OK);
    if (statSync(path).isFile()) return path;
  } catch {
    // The same answer as for a folder.
  }
  return misused(`LLAMA_SERVER is ${path}, which is not an executable file.\n${HOW_TO_GET_ONE}`);
}

function misused(message: string): never {
  console.error(`holdfast: ${message}`);
  process.exit(2);
}
