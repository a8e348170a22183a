/**
 * npm test: every suite, against the demo origin. Needs nothing but this repository.
 * npm run test:llama: the suites that talk HTTP, once more against a real llama-server.
 *
 * `--json FILE` also writes vitest's report there. All other arguments go to vitest: `npm test -- -t resume`.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { NO_NETWORK, ROOT } from "../tools/bundle.ts";
import { exitCode, misused, onEnd } from "../tools/command-line.ts";

/** Each with its parts: `e2e` is also `e2e-alone`. */
const ALL_PROJECTS = ["unit", "workers", "conformance", "e2e"];
const LLAMA_PROJECTS = ["conformance", "e2e"];

const HOW_TO_GET_ONE = `
These tests run against a real llama-server 0.7.0 or newer. Debian testing has it in its package llama.cpp-tools;
elsewhere build llama.cpp (https://github.com/ggml-org/llama.cpp). Then:

  LLAMA_SERVER=$(command -v llama-server) npm run test:llama

They start it with a tiny model that tools/make-tiny-gguf.mjs makes, or the one that LLAMA_MODEL names.`;

const { llama, json, project, rest } = readArguments(process.argv.slice(2));
const llamaServer = llama ? requireLlamaServer() : undefined;

const projects = project.length > 0 ? project : llama ? LLAMA_PROJECTS : ALL_PROJECTS;
// A report of an earlier run must not be taken for ours.
if (json !== undefined) rmSync(json, { force: true });

/** Where the files of tests share what they build: see test/support/once-per-run.ts. */
const run = mkdtempSync(join(tmpdir(), "holdfast-test-"));
process.once("exit", () => rmSync(run, { recursive: true, force: true }));

const { LLAMA_SERVER: _, HOLDFAST_TEST_JSON: __, ...env } = process.env;
const vitest = spawn(
  process.execPath,
  [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", ...projects.map((name) => `--project=${name}*`), ...rest],
  {
    cwd: ROOT,
    stdio: "inherit",
    // Without --llama a LLAMA_SERVER that happens to be set changes nothing.
    env: {
      ...env,
      ...NO_NETWORK,
      HOLDFAST_TEST_RUN: run,
      ...(llamaServer !== undefined && { LLAMA_SERVER: llamaServer }),
      // vitest.config.ts adds the report to our own reporter.
      ...(json !== undefined && { HOLDFAST_TEST_JSON: json }),
    },
  },
);
onEnd((signal) => vitest.kill(signal));
vitest.on("exit", (code, signal) => process.exit(exitCode(code, signal)));

/** Ours, and `rest`: those that are vitest's, in their order. */
function readArguments(args: string[]) {
  const { values, tokens } = parseArgs({
    args,
    strict: false,
    tokens: true,
    options: {
      llama: { type: "boolean", default: false },
      json: { type: "string" },
      project: { type: "string", multiple: true, default: [] },
    },
  });
  const ours = new Set<number>();
  for (const token of tokens) {
    if (token.kind !== "option" || !["llama", "json", "project"].includes(token.name)) continue;
    ours.add(token.index);
    if (token.value !== undefined && !token.inlineValue) ours.add(token.index + 1);
    if (token.value === undefined && token.name !== "llama") misused(`--${token.name} needs a value`);
  }
  return {
    llama: values.llama === true,
    json: typeof values.json === "string" ? resolve(values.json) : undefined,
    project: (values.project ?? []).filter((name) => typeof name === "string"),
    rest: args.filter((_, index) => !ours.has(index)),
  };
}

function requireLlamaServer(): string {
  const given = process.env.LLAMA_SERVER;
  if (!given) return misused(`LLAMA_SERVER is not set.\n${HOW_TO_GET_ONE}`);
  const path = resolve(given);
  try {
    accessSync(path, constants.X_OK);
    if (statSync(path).isFile()) return path;
  } catch {
    // The same answer as for a folder.
  }
  return misused(`LLAMA_SERVER is ${path}, which is not an executable file.\n${HOW_TO_GET_ONE}`);
}
