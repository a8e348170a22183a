/**
 * Who is measured. Each is started anew for each measurement, on a free port of 127.0.0.1, in front of the same origin.
 *
 *   direct   load ────────────────────────────▶ origin
 *   worker   load ──▶ Worker ─────────────────▶ origin     raw workerd, passes everything through
 *   floor    load ──▶ Worker ──▶ object ──────▶ origin     the same with a Durable Object a conversation: the yardstick
 *   holdfast load ──▶ Worker ──▶ object, log ─▶ origin     the bundle that `wrangler deploy` would upload
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway } from "../tools/gateway.ts";
import { freePort } from "../tools/ports.ts";
import { until } from "../tools/wait.ts";
import type { Call } from "./load.ts";
import { Child, pinGateway } from "./processes.ts";

/** What a conversation is to be answered with: see origin.ts. */
export interface Answer {
  readonly events: number;
  readonly rate?: number;
}

export interface Contestant {
  readonly name: string;
  /** Its processes: gateway, and what it needs beside itself. Empty: nothing to measure. */
  readonly pids: readonly number[];
  /** The request that starts an answer and streams it. */
  post(id: string, answer: Answer): Call;
  /** An id is good for one answer; left out: for one after another. */
  readonly isOnce?: boolean;
  /** It fails with more live conversations than this. */
  readonly mostLive?: number;
  /** Follows the answer of `id` from its first byte: what is there and what is to come. Left out: it cannot. */
  read?(id: string): Call;
  /** Reads the answer of `id`, which is over. Left out: it cannot. */
  replay?(id: string): Call;
  stop(): Promise<void>;
}

/** `storage`: a folder that survives the contestant; a second start on it finds what the first left. */
export type Start = (origin: string, storage: string) => Promise<Contestant>;

const KEY = "key-of-the-bench";

export function chatCall(base: string, id: string, answer: Answer, headers: Record<string, string> = {}): Call {
  const messages = [{ role: "user", content: JSON.stringify(answer) }];
  return {
    method: "POST",
    url: `${base}/v1/chat/completions`,
    headers: { "Content-Type": "application/json", "X-Conversation-Id": id, ...headers },
    body: JSON.stringify({ model: "bench", messages, stream: true }),
  };
}

export const direct: Start = async (origin) => ({
  name: "direct",
  pids: [],
  post: (id, answer) => chatCall(origin, id, answer),
  async stop() {},
});

export const worker: Start = (origin, storage) => startBare("worker", undefined, origin, storage);
export const floor: Start = (origin, storage) => startBare("floor", "Floor", origin, storage);

/** Between the floor and a gateway, by who sees the bytes: see workers/objects.js. */
export const jsLane: Start = (origin, storage) => startBare("js-lane", "JsLane", origin, storage);
export const tappedLane: Start = (origin, storage) => startBare("tapped-lane", "TappedLane", origin, storage);
export const nativeLane: Start = (origin, storage) => startBare("native-lane", "NativeLane", origin, storage);

/** Set once, before any start. `before`: of another version; empty, if there is none. */
export const bundles = { holdfast: "", before: "" };

export const holdfast: Start = (origin, storage) => startHoldfast("holdfast", bundles.holdfast, origin, storage);

/** Another version, on this one's settings. */
export const before: Start = (origin, storage) => startHoldfast("before", bundles.before, origin, storage);

/** Holdfast with every written row counted (workers/rows.js). Not for measuring time. */
export const holdfastCountingRows: Start = (origin, storage) => {
  const bundle = join(storage, "bundle");
  mkdirSync(bundle, { recursive: true });
  copyFileSync(join(import.meta.dirname, "workers/rows.js"), join(bundle, "index.js"));
  copyFileSync(join(bundles.holdfast, "index.js"), join(bundle, "holdfast.js"));
  return startHoldfast("holdfast", bundle, origin, storage);
};

export const AUTHORIZED = { Authorization: `Bearer ${KEY}` };

async function startHoldfast(name: string, bundle: string, origin: string, storage: string): Promise<Contestant> {
  const gateway = await startGateway({ bundle, origin, storage, port: await freePort(), apiKeys: `bench=${KEY}` });
  pinGateway(gateway.pid);
  const read = (id: string): Call => {
    return { method: "GET", url: `${gateway.url}/v1/stream?conv_id=${id}&from=0`, headers: AUTHORIZED };
  };
  return {
    name,
    pids: [gateway.pid],
    post: (id, answer) => chatCall(gateway.url, id, answer, AUTHORIZED),
    read,
    replay: read,
    stop: () => gateway.kill(),
  };
}

/** A Worker of ours on raw workerd, with the same compatibility date as holdfast's, before an object of this class. */
async function startBare(
  name: string,
  className: string | undefined,
  origin: string,
  storage: string,
): Promise<Contestant> {
  const port = await freePort();
  mkdirSync(join(storage, "state"), { recursive: true });
  const config = join(storage, "workerd.capnp");
  const script = className ? "objects.js" : "pass-through.js";
  writeFileSync(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .bare),
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "state", disk = (path = "${join(storage, "state")}", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const bare :Workerd.Worker = (
  modules = [(name = "main.js", esModule = embed "${join(import.meta.dirname, "workers", script)}")],
  compatibilityDate = "2026-10-23",
  bindings = [
    (name = "ORIGIN_URL", text = "${origin}"),
    ${className ? `(name = "CONVERSATION", durableObjectNamespace = "${className}"),` : ""}
  ],
  ${className ? `durableObjectNamespaces = [(className = "${className}", uniqueKey = "bench", enableSql = true)],` : ""}
  durableObjectStorage = (localDisk = "state"),
);
`,
  );
  const { default: workerd } = createRequire(import.meta.url)("workerd") as { default: string };
  const child = new Child(workerd, ["serve", "-I/", config]);
  pinGateway(child.pid);
  const base = `http://127.0.0.1:${port}`;
  await untilAnswers(base, child);
  pinGateway(child.pid);
  return {
    name,
    pids: [child.pid],
    post: (id, answer) => chatCall(base, id, answer),
    stop: () => child.kill(),
  };
}

const READY_DEADLINE_MS = 20_000;

/** Waits until something answers there, with whatever status. */
export async function untilAnswers(base: string, child: Child): Promise<void> {
  await until(
    async () => {
      if (child.hasExited) throw new Error(`${child.process.spawnfile} ended at its start: ${child.output}`);
      return fetch(base).then(
        async (answer) => (await answer.arrayBuffer()).byteLength >= 0,
        // It does not listen yet.
        () => false,
      );
    },
    `${base} answers`,
    READY_DEADLINE_MS,
  );
}

/**
 * Memory where there is any: a commit waits for the disk, which on Cloudflare it does not, and with a disk below it the
 * whole table says how long this one takes to flush.
 */
export const DEFAULT_STORAGE = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

const storages = new Set<string>();
process.once("exit", () => storages.forEach(removeStorage));

export function makeStorage(parent: string): string {
  const folder = mkdtempSync(join(parent, "holdfast-bench-"));
  storages.add(folder);
  return folder;
}

export function removeStorage(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  storages.delete(folder);
}
