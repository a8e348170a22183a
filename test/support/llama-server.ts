/**
 * The real llama-server for tests: starts it by its path, with the tiny model that lies beside it or the one that
 * LLAMA_MODEL names, and ends it by its process id. See the README beside the launcher for what the model does.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
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

/** The first run of a launcher may have to fetch the server. */
const READY_DEADLINE_MS = 90_000;

/** One pool of this many tokens for all slots. */
const CONTEXT_TOKENS = 32_768;

export async function startLlamaServer(launcher: string, options: LlamaServerOptions = {}): Promise<LlamaServer> {
  const port = options.port ?? (await freePort());
  const args = [
    ...["-m", options.slow ? slowModel(launcher, options.slow) : model(launcher), "-a", "tiny"],
    ...["-c", String(CONTEXT_TOKENS), "-np", String(options.slots ?? 4), "-kvu", "-t", "1", "--cache-ram", "0"],
    ...["--host", "127.0.0.1", "--port", String(port)],
    ...(options.apiKey ? ["--api-key", options.apiKey] : []),
    ...(options.args ?? []),
  ];
  const child = spawn(resolve(launcher), args, { stdio: ["ignore", "ignore", "pipe"] });
  const { pid } = child;
  if (pid === undefined) throw new Error(`Cannot start llama-server at ${launcher}`);
  // A test run that ends in any way must not leave it behind.
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  const exited = new Promise<void>((done) => child.once("exit", () => done()));
  const log = tailOf(child);
  const url = `http://127.0.0.1:${port}`;
  try {
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`llama-server ended with ${child.exitCode}. It said:\n${log()}`);
        return isHealthy(url);
      },
      `llama-server answers at ${url}`,
      READY_DEADLINE_MS,
    );
  } catch (error) {
    kill();
    throw error;
  }
  return {
    url,
    pid,
    async kill() {
      kill();
      await exited;
      process.off("exit", kill);
    },
    stop: () => void child.kill("SIGSTOP"),
    cont: () => void child.kill("SIGCONT"),
  };
}

function model(launcher: string): string {
  return resolve(process.env.LLAMA_MODEL ?? join(dirname(launcher), "tiny.gguf"));
}

function slowModel(launcher: string, layers: number): string {
  const file = join(tmpdir(), `holdfast-tiny-${layers}-layers.gguf`);
  if (existsSync(file)) return file;
  const script = join(dirname(resolve(launcher)), "make-tiny-gguf.mjs");
  const made = spawnSync(process.execPath, [script, "--layers", String(layers), "--out", file], {
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(`Cannot make a model of ${layers} layers: ${made.stderr}`);
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

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("No free port");
  return address.port;
}

/** The last of what it prints; read all the time, or it would stop at a full pipe. */
function tailOf(child: ChildProcess): () => string {
  let tail = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-4096);
  });
  return () => tail;
}
