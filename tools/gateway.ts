/**
 * The gateway without Cloudflare and without wrangler's dev server: the bundle that `wrangler deploy` would upload, on
 * plain workerd.
 *
 *     src/ ──bundle.ts──▶ <bundle> ─────────┐
 *     wrangler.toml ──workerd-config.ts─────┴─▶ <storage>/workerd.capnp ──▶ workerd ──▶ <storage>/state
 *
 * `npm start`, the end-to-end tests and the bench run on this. What it keeps true:
 * - secrets reach workerd in its environment and stand in no file;
 * - nothing here asks the network for anything;
 * - one gateway per storage folder; what it writes there only its owner can read;
 * - workerd does not outlive the process that started it, however that one ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "./bundle.ts";
import { guard, OutputTail } from "./child-process.ts";
import { removeEmptyDatabases } from "./empty-databases.ts";
import { LOOPBACK, reachedAt } from "./invitation.ts";
import { freePort, PortInUse } from "./ports.ts";
import { workerdBeside } from "./workerd.ts";
import { workerdConfig } from "./workerd-config.ts";

/** Includes the first answer, for which workerd compiles the bundle; measured 0.1 to 0.3 s on an idle machine. */
const READY_DEADLINE_MS = 15_000;
const READY_POLL_MS = 20;

export interface GatewayOptions {
  /** workerd's binary; the checkout's, if left out. */
  workerd?: string | undefined;
  /** The folder that `buildBundle()` filled. */
  bundle: string;
  /** Base URL of the llama-server. */
  origin: string;
  /** The llama-server's own API key, if it wants one. */
  originKey?: string | undefined;
  /** "tenant=key tenant2=key2" */
  apiKeys: string;
  /** Further secrets by name; those without a value are not set. */
  secrets?: Readonly<Record<string, string | undefined>> | undefined;
  /** Further variables, as in [vars] of wrangler.toml. */
  vars?: Readonly<Record<string, string>> | undefined;
  /** For each service binding of wrangler.toml the URL of the server that stands for it. */
  services?: Readonly<Record<string, string>> | undefined;
  /** The IPv4 address to listen on: 127.0.0.1 if left out. 0.0.0.0 is all of this machine's. */
  host?: string | undefined;
  /** Left out or 0: a free one. */
  port?: number | undefined;
  /** A folder of this gateway alone. What the Durable Objects keep is in its folder `state`, and survives a restart. */
  storage: string;
  /** Where workerd's output goes besides memory: our own stderr, nowhere (the default), or this file, begun anew. */
  log?: "inherit" | (string & {}) | undefined;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Gateway {
  /** Without a trailing slash. */
  url: string;
  port: number;
  pid: number;
  exited: Promise<Exit>;
  /** As by `kill -9`: connections are cut, nothing is said goodbye to. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** Stops answering and reading, with all connections open, until `resume()`. */
  suspend(): void;
  resume(): void;
  /** The last 64 KiB of what workerd printed. */
  logs(): string;
}

/** A gateway that runs on a storage folder. */
export interface RunningGateway {
  pid: number;
  url: string;
}

export class StorageInUse extends Error {
  readonly by: RunningGateway;

  constructor(storage: string, by: RunningGateway) {
    super(`A gateway already runs on the storage ${storage}: process ${by.pid}, ${by.url}`);
    this.by = by;
  }
}

/** Resolves when `GET /health` answers. Throws PortInUse, StorageInUse, or an Error with what workerd printed. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  if (options.port) return startOn(options.port, options);
  for (;;) {
    try {
      return await startOn(await freePort(), options);
    } catch (error) {
      // Another process took the port just now.
      if (!(error instanceof PortInUse)) throw error;
    }
  }
}

async function startOn(port: number, options: GatewayOptions): Promise<Gateway> {
  const storage = resolve(options.storage);
  // Two processes on the same databases would wait for each other's locks, and both run the alarms.
  const other = gatewayOn(storage);
  if (other) throw new StorageInUse(storage, other);

  const given = { ...options.secrets, API_KEYS: options.apiKeys, ORIGIN_API_KEY: options.originKey };
  const secrets = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  removeEmptyDatabases(join(storage, STATE_FOLDER));
  const configFile = await writeConfig(storage, port, Object.keys(secrets), options);
  const child = spawnWorkerd(options.workerd ?? workerdBeside(), configFile, { ...process.env, ...secrets });
  const pid = child.pid;
  if (pid === undefined) {
    const [cause] = await once(child, "error");
    throw new Error(`Cannot start workerd: ${cause.message}`, { cause });
  }
  guard(child);
  const output = new OutputTail(options.log).follow(child.stdout, child.stderr);
  // "close", not "exit": only then has everything that it printed arrived.
  const exited = new Promise<Exit>((done) => {
    child.once("close", (code, signal) => done({ code, signal }));
  });
  const url = `http://${reachedAt(options.host ?? LOOPBACK)}:${port}`;
  await writeFile(join(storage, PID_FILE), `${pid} ${url}\n`, PRIVATE);

  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  try {
    await whenReady(url, child, exited, port, output);
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    url,
    port,
    pid,
    exited,
    kill,
    suspend: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    logs: () => output.text,
  };
}

/** The answers are in the storage: nobody but its owner reads them. */
const PRIVATE = { mode: 0o600 };
const PRIVATE_FOLDER = 0o700;
const STATE_FOLDER = "state";
const CONFIG_FILE = "workerd.capnp";
const PID_FILE = "workerd.pid";

async function writeConfig(
  storage: string,
  port: number,
  secrets: readonly string[],
  { bundle, origin, host, vars, services = {} }: GatewayOptions,
): Promise<string> {
  const state = join(storage, STATE_FOLDER);
  await mkdir(state, { recursive: true, mode: PRIVATE_FOLDER });
  // A folder from before it was private.
  await chmod(storage, PRIVATE_FOLDER);
  const wrangler = await readFile(join(ROOT, "wrangler.toml"), "utf8");
  const allVars = { ...vars, ORIGIN_URL: origin };
  const file = join(storage, CONFIG_FILE);
  const config = workerdConfig({ wrangler, bundle, state, host, port, vars: allVars, secrets, services });
  await writeFile(file, config, PRIVATE);
  return file;
}

function spawnWorkerd(binary: string, configFile: string, env: NodeJS.ProcessEnv): ChildProcess {
  // The shell makes its files private and becomes workerd. With `-I/` the absolute paths of the modules are found.
  const script = 'umask 077; exec "$0" "$@"';
  return spawn("/bin/sh", ["-c", script, binary, "serve", "-I/", "--control-fd=3", configFile], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env,
  });
}

/** The gateway that runs on this folder now, if any. */
export function gatewayOn(storage: string): RunningGateway | undefined {
  const file = join(resolve(storage), PID_FILE);
  if (!existsSync(file)) return undefined;
  const [pid = "", url = ""] = readFileSync(file, "utf8").trim().split(" ");
  // The command line too, because after a reboot the id may belong to any process.
  return commandLineOf(pid).includes(join(resolve(storage), CONFIG_FILE)) ? { pid: Number(pid), url } : undefined;
}

function commandLineOf(pid: string): string {
  const proc = `/proc/${pid}/cmdline`;
  if (existsSync("/proc/self/cmdline")) return existsSync(proc) ? readFileSync(proc, "utf8") : "";
  return spawnSync("ps", ["-o", "args=", "-p", pid], { encoding: "utf8" }).stdout ?? "";
}

async function whenReady(url: string, child: ChildProcess, exited: Promise<Exit>, port: number, output: OutputTail) {
  const gone = new AbortController();
  void exited.then(() => gone.abort());
  const deadline = AbortSignal.timeout(READY_DEADLINE_MS);
  const signal = AbortSignal.any([deadline, gone.signal]);
  let last = "it does not listen";
  try {
    // workerd itself says that it listens: on a taken port another process would answer /health.
    if (child.stdio[3]) await once(child.stdio[3], "data", { signal });
    for (;;) {
      const answer = await fetch(`${url}/health`, { signal });
      last = `GET /health answers ${answer.status} ${await answer.text()}`;
      if (answer.status === 200) return;
      await sleep(READY_POLL_MS, undefined, { signal });
    }
  } catch (cause) {
    // A connection that breaks here was broken by workerd's end, which is the better thing to tell.
    if (!deadline.aborted) await Promise.race([exited, once(deadline, "abort")]);
    if (gone.signal.aborted) {
      if (output.text.includes("Address already in use")) throw new PortInUse(port);
      const { code, signal } = await exited;
      throw new Error(`workerd ended (${signal ?? `exit code ${code}`}) before it was ready. ${output.quote()}`);
    }
    throw new Error(`The gateway is not ready after ${READY_DEADLINE_MS / 1000} s: ${last}. ${output.quote()}`, {
      cause,
    });
  }
}
