/**
 * The real llama-server: starts it by its path with a tiny model of our own (make-tiny-gguf.mjs), or the one that
 * LLAMA_MODEL names, and ends it by its process id.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";
import { ROOT } from "./bundle.ts";
import { guard, OutputTail } from "./child-process.ts";
import { freePort } from "./ports.ts";
import { until } from "./wait.ts";

export interface LlamaServerOptions {
  /** Further arguments; they win over ours. */
  args?: string[];
  /** Left out: a free one. */
  port?: number;
  slots?: number;
  apiKey?: string;
  /** A model with this many layers: the same words, each of them slower. */
  slow?: number;
}

export interface LlamaServer {
  url: string;
  pid: number;
  /** SIGKILL: connections are cut, and SIGTERM would hang while a stream is live. */
  kill(): Promise<void>;
  /** The process stops with all its connections open, until `cont()`. */
  stop(): void;
  cont(): void;
}

/** The program may be a launcher whose first run fetches the server. */
const READY_DEADLINE_MS = 90_000;

/** One pool of this many tokens for all slots. */
const CONTEXT_TOKENS = 32_768;

export async function startLlamaServer(program: string, options: LlamaServerOptions = {}): Promise<LlamaServer> {
  const port = options.port ?? (await freePort());
  const args = [
    ...["-m", modelFile(options.slow), "-a", "tiny"],
    ...["-c", String(CONTEXT_TOKENS), "-np", String(options.slots ?? 4), "-kvu", "-t", "1", "--cache-ram", "0"],
    ...["--host", "127.0.0.1", "--port", String(port)],
    ...(options.apiKey ? ["--api-key", options.apiKey] : []),
    ...(options.args ?? []),
  ];
  const child = spawn(resolve(program), args, { stdio: ["ignore", "ignore", "pipe"] });
  const { pid } = child;
  if (pid === undefined) throw new Error(`Cannot start llama-server at ${program}`);
  guard(child);
  const exited = new Promise<void>((done) => child.once("exit", () => done()));
  const output = new OutputTail().follow(child.stderr);
  const url = `http://127.0.0.1:${port}`;
  try {
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`llama-server ended with ${child.exitCode}. ${output.quote()}`);
        return isHealthy(url);
      },
      `llama-server answers at ${url}`,
      READY_DEADLINE_MS,
    );
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    url,
    pid,
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
    stop: () => void child.kill("SIGSTOP"),
    cont: () => void child.kill("SIGCONT"),
  };
}

function modelFile(layers: number | undefined): string {
  const given = process.env.LLAMA_MODEL;
  return given && layers === undefined ? resolve(given) : tinyModel(layers ?? 1);
}

/** Made once for each version of the script. */
function tinyModel(layers: number): string {
  const script = join(ROOT, "tools/make-tiny-gguf.mjs");
  const version = createHash("sha256").update(readFileSync(script)).digest("hex").slice(0, 8);
  const folder = join(ROOT, ".holdfast/models");
  const file = join(folder, `tiny-${version}-${layers}.gguf`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${file}.${process.pid}`;
  const made = spawnSync(process.execPath, [script, "--layers", String(layers), "--out", unfinished]);
  if (made.status !== 0) throw new Error(`Cannot make a model of ${layers} layers: ${made.stderr}`);
  renameSync(unfinished, file);
  return file;
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    // It does not listen yet.
    return false;
  }
}
