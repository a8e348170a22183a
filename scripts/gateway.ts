/**
 * The gateway without Cloudflare and without wrangler's dev server: the bundle that `wrangler deploy` would upload, on
 * plain workerd.
 *
 *     src/ ──wrangler──▶ dist/ ─┐
 *     wrangler.toml ────────────┴─▶ <storage>/workerd.capnp ──▶ workerd ──▶ <storage>/state
 *
 * `npm start` and the end-to-end tests run on this. What it keeps true:
 * - wrangler.toml is the only description of the Worker; what cannot be translated is an error, not left out;
 * - secrets reach workerd in its environment and stand in no file;
 * - nothing here asks the network for anything;
 * - workerd does not outlive the process that started it, however that one ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, extname, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "smol-toml";

const ROOT = resolve(import.meta.dirname, "..");
const BUNDLE = join(ROOT, "dist");
export const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

/** Without these wrangler asks Cloudflare and the npm registry before it works, and waits seconds when it has no internet. */
export const NO_NETWORK = {
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
};

/** Files in the bundle that the Worker does not import. */
const NOT_MODULES = new Set(["README.md", ".map"]);

/** How wrangler's default rules, and so workerd, take a file of the bundle. */
const MODULE_TYPES: Readonly<Record<string, string>> = {
  ".js": "esModule",
  ".mjs": "esModule",
  ".txt": "text",
  ".html": "text",
  ".sql": "text",
  ".bin": "data",
  ".wasm": "wasm",
};

const SECRETS = ["API_KEYS", "ORIGIN_API_KEY"] as const;

/** Includes the first answer, for which workerd compiles the bundle; measured 0.1 to 0.3 s on an idle machine. */
const READY_DEADLINE_MS = 15_000;
const READY_POLL_MS = 20;
/** Enough for a few stack traces, and bounded however long workerd runs. */
const LOG_TAIL_CHARS = 65_536;
/**
 * Below the ports that Linux gives to outgoing connections: a port of those could be taken, between a crash and the
 * restart on the same port, by any client of anybody, even by one that is trying to reach this very port.
 */
const FREE_PORTS = { from: 20_000, to: 32_000 };

/** Bundles the Worker into dist/, all imports resolved, and returns that folder. Safe to run twice at once. */
export async function buildBundle(): Promise<string> {
  await mkdir(join(ROOT, ".holdfast"), { recursive: true });
  const fresh = await mkdtemp(join(ROOT, ".holdfast", "build-"));
  // wrangler is a chain of processes: a group of its own, so that all of them can be ended.
  const wrangler = spawn(process.execPath, [WRANGLER, "deploy", "--dry-run", "--outdir", fresh], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...NO_NETWORK },
    detached: true,
  });
  const cleanUp = () => {
    if (wrangler.pid !== undefined && wrangler.exitCode === null && wrangler.signalCode === null)
      process.kill(-wrangler.pid, "SIGKILL");
    rmSync(fresh, { recursive: true, force: true });
  };
  process.once("exit", cleanUp);
  try {
    await succeeded(wrangler);
    // File by file, each atomically: a whole folder cannot be replaced in one step.
    await mkdir(BUNDLE, { recursive: true });
    const files = await readdir(fresh);
    for (const file of files) await rename(join(fresh, file), join(BUNDLE, file));
    for (const file of await readdir(BUNDLE)) {
      if (!files.includes(file)) await rm(join(BUNDLE, file), { recursive: true, force: true });
    }
    return BUNDLE;
  } finally {
    process.off("exit", cleanUp);
    cleanUp();
  }
}

async function succeeded(wrangler: ChildProcess): Promise<void> {
  const output = new Tail();
  output.follow(wrangler.stdout);
  output.follow(wrangler.stderr);
  const [code] = await once(wrangler, "close");
  if (code !== 0) throw new Error(`Cannot bundle the Worker: wrangler ended with ${code}. ${output.quote()}`);
}

export interface WorkerdOptions {
  /** The folder that `buildBundle()` returned. */
  bundle: string;
  /** Where the Durable Objects' databases are; must exist. */
  state: string;
  port: number;
  /** Take the place of the variables of the same name in wrangler.toml, or add to them. */
  vars: Readonly<Record<string, string>>;
  /** Names of the secrets that workerd finds in its environment. */
  secrets: readonly string[];
}

/** What wrangler.toml describes, in workerd's own configuration language (Cap'n Proto text). */
export function workerdConfig({ bundle, state, port, vars, secrets }: WorkerdOptions): string {
  const worker = readWranglerToml();
  const bindings = [
    ...worker.objects.map(
      ({ binding, className }) => `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})`,
    ),
    ...Object.entries({ ...worker.vars, ...vars }).map(([name, value]) =>
      typeof value === "string"
        ? `(name = ${text(name)}, text = ${text(value)})`
        : `(name = ${text(name)}, json = ${text(JSON.stringify(value))})`,
    ),
    ...secrets.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
  ];
  const namespaces = worker.objects.map(
    ({ className, sqlite }) =>
      `(className = ${text(className)}, uniqueKey = ${text(`holdfast-${className}`)}, enableSql = ${sqlite})`,
  );
  return `# Written by scripts/gateway.ts from wrangler.toml at every start.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .holdfast),
    # "private" too: the origin is usually a neighbour.
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "state", disk = (path = ${text(state)}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);

const holdfast :Workerd.Worker = (
  modules = ${list(modulesOf(bundle, worker.main))},
  compatibilityDate = ${text(worker.compatibilityDate)},
  compatibilityFlags = ${list(worker.compatibilityFlags.map(text))},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = "state"),
);
`;
}

/** The main module first, as workerd wants it. */
function modulesOf(bundle: string, main: string): string[] {
  const entry = `${basename(main, extname(main))}.js`;
  const files = readdirSync(bundle).filter((file) => !NOT_MODULES.has(file) && !NOT_MODULES.has(extname(file)));
  if (!files.includes(entry)) throw new Error(`Cannot serve ${bundle}: it has no ${entry}. Was the Worker built?`);
  return [entry, ...files.filter((file) => file !== entry)].map((file) => {
    const type = MODULE_TYPES[extname(file)];
    if (!type) throw new Error(`Cannot serve ${join(bundle, file)}: unknown kind of module`);
    return `(name = ${text(file)}, ${type} = embed ${text(resolve(bundle, file))})`;
  });
}

/** A Cap'n Proto string: bytes, with C's escapes. */
function text(value: string): string {
  const escaped = value.replace(/["\\]/g, "\\$&");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be escaped
  return `"${escaped.replace(/[\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)}"`;
}

function list(items: string[]): string {
  return items.length === 0 ? "[]" : `[\n    ${items.join(",\n    ")},\n  ]`;
}

interface WorkerDescription {
  main: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  vars: Table;
  objects: { binding: string; className: string; sqlite: boolean }[];
}

type Table = Record<string, unknown>;

/** Settings of Cloudflare or of wrangler that change nothing about how the Worker answers here. */
const WITHOUT_EFFECT_HERE = [
  ...["name", "$schema", "account_id", "send_metrics", "dev", "env", "limits", "observability", "logpush", "placement"],
  ...["route", "routes", "workers_dev", "preview_urls", "keep_vars", "minify", "upload_source_maps", "secrets"],
];

function readWranglerToml(): WorkerDescription {
  const file = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8")) as Table;
  const served = ["main", "compatibility_date", "compatibility_flags", "vars", "durable_objects", "migrations"];
  onlyKnows("", file, [...served, ...WITHOUT_EFFECT_HERE]);
  const durableObjects = (file.durable_objects ?? {}) as Table;
  onlyKnows("durable_objects.", durableObjects, ["bindings", "code_update_strategy"]);
  const migrations = (file.migrations ?? []) as Table[];
  for (const step of migrations) onlyKnows("migrations.", step, ["tag", "new_classes", "new_sqlite_classes"]);
  const sqlite = migrations.flatMap((step) => (step.new_sqlite_classes ?? []) as string[]);

  return {
    main: string("main", file.main),
    // smol-toml has a type of its own for an unquoted date.
    compatibilityDate: String(file.compatibility_date),
    compatibilityFlags: (file.compatibility_flags ?? []) as string[],
    vars: (file.vars ?? {}) as Table,
    objects: ((durableObjects.bindings ?? []) as Table[]).map((binding) => {
      onlyKnows("durable_objects.bindings.", binding, ["name", "class_name"]);
      const className = string("durable_objects.bindings.class_name", binding.class_name);
      return {
        binding: string("durable_objects.bindings.name", binding.name),
        className,
        sqlite: sqlite.includes(className),
      };
    }),
  };
}

/** A binding that is silently missing would only show when a request needs it. */
function onlyKnows(prefix: string, table: Table, keys: readonly string[]): void {
  for (const key of Object.keys(table)) {
    if (keys.includes(key)) continue;
    throw new Error(
      `Cannot serve wrangler.toml on workerd: nothing in scripts/gateway.ts translates "${prefix}${key}". ` +
        "Translate it there, or list it as without effect.",
    );
  }
}

function string(name: string, value: unknown): string {
  if (typeof value !== "string") throw new Error(`wrangler.toml: "${name}" must be a string`);
  return value;
}

export interface GatewayOptions {
  /** The folder that `buildBundle()` returned. */
  bundle: string;
  /** Base URL of the llama-server. */
  origin: string;
  /** The llama-server's own API key, if it wants one. */
  originKey?: string | undefined;
  /** "tenant=key tenant2=key2" */
  apiKeys: string;
  /** Left out or 0: a free one. Always on 127.0.0.1. */
  port?: number | undefined;
  /** A folder of this gateway alone. What the Durable Objects keep is in its folder `state`, and survives a restart. */
  storage: string;
  /** Further variables, as in [vars] of wrangler.toml. */
  vars?: Readonly<Record<string, string>> | undefined;
  /** Where workerd's output goes besides memory: our own stderr, nowhere (the default), or this file, begun anew. */
  log?: "inherit" | "ignore" | (string & {}) | undefined;
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

export class PortInUse extends Error {
  readonly port: number;

  constructor(port: number) {
    super(`Port ${port} on 127.0.0.1 is in use`);
    this.port = port;
  }
}

/** Resolves when `GET /health` answers 200. Throws PortInUse, or an Error with what workerd printed. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  if (options.port) return startOn(options.port, options);
  for (;;) {
    const port = FREE_PORTS.from + Math.floor(Math.random() * (FREE_PORTS.to - FREE_PORTS.from));
    try {
      return await startOn(port, options);
    } catch (error) {
      // Somebody had the port; the next one is probably free.
      if (!(error instanceof PortInUse)) throw error;
    }
  }
}

async function startOn(port: number, options: GatewayOptions): Promise<Gateway> {
  const storage = resolve(options.storage);
  const state = join(storage, "state");
  const configFile = join(storage, "workerd.capnp");
  const pidFile = join(storage, "workerd.pid");
  refuseIfInUse(storage, pidFile, configFile);

  const secrets = { API_KEYS: options.apiKeys, ORIGIN_API_KEY: options.originKey };
  const present = SECRETS.filter((name) => secrets[name]);
  const vars = { ...options.vars, ORIGIN_URL: options.origin };
  await mkdir(state, { recursive: true });
  await writeFile(configFile, workerdConfig({ bundle: options.bundle, state, port, vars, secrets: present }));

  const url = `http://127.0.0.1:${port}`;
  // With `-I/` the absolute paths of the modules are found.
  const child = spawn(workerdBinary(), ["serve", "-I/", "--control-fd=3", configFile], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { ...process.env, ...secrets },
  });
  const pid = child.pid;
  if (pid === undefined) {
    const [cause] = await once(child, "error");
    throw new Error(`Cannot start workerd: ${cause.message}`, { cause });
  }
  guard(child, pid);
  const output = new Tail(options.log === "ignore" ? undefined : options.log);
  output.follow(child.stdout);
  output.follow(child.stderr);
  // "close", not "exit": only then has everything that it printed arrived.
  const exited = new Promise<Exit>((done) => {
    child.once("close", (code, signal) => done({ code, signal }));
  });
  await writeFile(pidFile, String(pid));

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

/** Two processes on the same databases would wait for each other's locks, and both run the alarms. */
function refuseIfInUse(storage: string, pidFile: string, configFile: string): void {
  if (!existsSync(pidFile)) return;
  const pid = readFileSync(pidFile, "utf8");
  // The command line too, because after a reboot the id may belong to anybody.
  if (!commandLineOf(pid).includes(configFile)) return;
  throw new Error(
    `The storage ${storage} is in use by another gateway, process ${pid}. End it (kill -9 ${pid}) or use another storage.`,
  );
}

function commandLineOf(pid: string): string {
  const proc = `/proc/${pid}/cmdline`;
  if (existsSync("/proc/self/cmdline")) return existsSync(proc) ? readFileSync(proc, "utf8") : "";
  return spawnSync("ps", ["-o", "args=", "-p", pid], { encoding: "utf8" }).stdout ?? "";
}

function workerdBinary(): string {
  // The package's main export, not its bin: that is a Node script around the binary when install scripts did not run.
  const { default: path } = createRequire(import.meta.url)("workerd") as { default: string };
  return path;
}

/**
 * workerd ignores SIGTERM while connections are open, and no handler of ours runs when we are killed. So a small shell,
 * in a session of its own, waits for the end of a pipe that only we hold, and then kills workerd.
 */
function guard(workerd: ChildProcess, pid: number): void {
  const shell = spawn("/bin/sh", ["-c", 'read -r _; kill -9 "$1"', "holdfast-guard", String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.unref();
  // Without it workerd is killed by whoever started it, as ever.
  shell.on("error", () => {});
  workerd.once("exit", () => shell.kill("SIGKILL"));
}

async function whenReady(url: string, child: ChildProcess, exited: Promise<Exit>, port: number, output: Tail) {
  const gone = new AbortController();
  void exited.then(() => gone.abort());
  const deadline = AbortSignal.timeout(READY_DEADLINE_MS);
  const signal = AbortSignal.any([deadline, gone.signal]);
  let last = "it does not listen";
  try {
    // workerd itself says that it listens: on a taken port somebody else would answer /health.
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

/** The newest part of what a process prints, and a copy of all of it where wanted. */
class Tail {
  text = "";
  readonly #copyTo: string | undefined;

  constructor(copyTo?: string | undefined) {
    this.#copyTo = copyTo;
    if (copyTo !== undefined && copyTo !== "inherit") writeFileSync(copyTo, "");
  }

  /** As the end of an error message. */
  quote(): string {
    const printed = this.text.trim();
    return printed === "" ? "It printed nothing." : `It printed:\n\n${printed}`;
  }

  follow(stream: Readable | null): void {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      this.text = (this.text + text).slice(-LOG_TAIL_CHARS);
      if (this.#copyTo === "inherit") process.stderr.write(text);
      else if (this.#copyTo !== undefined) appendFileSync(this.#copyTo, text);
    });
  }
}
