/**
 * All of a deployment on one machine, with a bad network on either side of the gateway:
 *
 *   client ──▶ front proxy ──▶ gateway (workerd) ──▶ back proxy ──▶ origin, or several: see origins.ts
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway.ts";
import { workerBundle } from "./bundle.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { send } from "./http.ts";
import type { TestOrigin, TestOriginOptions } from "./origin.ts";
import { FaultProxies, startOrigins, type TestOrigins, together } from "./origins.ts";
import { Random } from "./random.ts";
import { unexpectedNoise } from "./runtime-noise.ts";

export const KEY = "key-of-alice-for-tests";
/** Of another tenant. */
export const OTHER_KEY = "key-of-bob-for-tests";

/** How many origins are behind a gateway whose test wants no particular one. */
const ORIGINS = Number(process.env.HOLDFAST_ORIGINS ?? 1);

export interface LookupRow {
  conversation_id: string;
  is_done: boolean;
  total_bytes: number;
  end: string | null;
  dropped_bytes: number;
  reattached: number;
}

interface StandIn {
  url: string;
  close(): Promise<void>;
}

export interface SiteOptions extends TestOriginOptions {
  vars?: Record<string, string>;
  behind?: StandIn;
  /** For a test that fills the slots of one. */
  origins?: number;
  /** Starts something more between the gateway and the proxy behind it, whose URL it is given; returns its own. */
  via?: (url: string, random: Random) => Promise<string>;
  /** A file for all that the gateway prints; begun anew when it restarts. */
  log?: string;
}

export class Site {
  origin: TestOrigins;
  readonly back: FaultProxies;
  readonly front: FaultProxy;
  readonly random: Random;
  readonly #originOptions: TestOriginOptions;
  /** What the gateway takes for its origin. */
  readonly #originUrl: string;
  /** The gateway's folder. */
  readonly storage: string;
  readonly #vars: Record<string, string>;
  readonly #log: string | undefined;
  readonly #unexpected: string[] = [];
  #gateway: Gateway;

  private constructor(parts: {
    originOptions: TestOriginOptions;
    originUrl: string;
    origin: TestOrigins;
    back: FaultProxies;
    front: FaultProxy;
    random: Random;
    storage: string;
    vars: Record<string, string>;
    log: string | undefined;
    gateway: Gateway;
  }) {
    this.origin = parts.origin;
    this.#originOptions = parts.originOptions;
    this.#originUrl = parts.originUrl;
    this.back = parts.back;
    this.front = parts.front;
    this.random = parts.random;
    this.storage = parts.storage;
    this.#vars = parts.vars;
    this.#log = parts.log;
    this.#gateway = parts.gateway;
  }

  /** `behind`: a server to stand in for the origin. */
  static async start(options: SiteOptions = {}): Promise<Site> {
    const { vars: given, behind, via, log, origins = ORIGINS, ...originOptions } = options;
    const random = new Random();
    const storage = await mkdtemp(join(tmpdir(), "holdfast-e2e-"));
    const origin = behind ? standIn(behind) : await startOrigins(via ? 1 : origins, originOptions);
    const back = await FaultProxies.start(origin.urls, random);
    const [first = ""] = back.urls;
    const originUrl = via ? await via(first, random) : first;
    const vars = { ...(back.urls.length > 1 && { ORIGINS: named(back.urls) }), ...given };
    const gateway = await startOn({ bundle: await workerBundle(), origin: originUrl, storage, vars, log });
    const front = await FaultProxy.start(gateway.url, random);
    return new Site({ originOptions, originUrl, origin, back, front, random, storage, vars, log, gateway });
  }

  get gateway(): Gateway {
    return this.#gateway;
  }

  /** Where a client with a good network finds the gateway. */
  get url(): string {
    return this.#gateway.url;
  }

  /** SIGKILL, and a new process on the same storage and port. */
  async restartGateway(): Promise<void> {
    const { port } = this.#gateway;
    await this.#gateway.kill();
    this.#unexpected.push(...unexpectedNoise(this.#gateway.logs()));
    this.#gateway = await startOn({
      bundle: await workerBundle(),
      origin: this.#originUrl,
      storage: this.storage,
      vars: this.#vars,
      log: this.#log,
      port,
    });
  }

  /** A new origin at the place of the one that was killed: it remembers nothing. */
  async restartOrigin(): Promise<void> {
    const { urls } = this.origin;
    const ports = urls.map((url) => Number(new URL(url).port));
    this.origin = await startOrigins(urls.length, this.#originOptions, ports);
  }

  /** Fails where the gateway left exceptions uncaught that no test asked for. */
  async close(): Promise<void> {
    await this.front.close();
    await this.#gateway.kill();
    this.#unexpected.push(...unexpectedNoise(this.#gateway.logs()));
    await this.back.close();
    await this.origin.kill();
    await rm(this.storage, { recursive: true, force: true });
    if (this.#unexpected.length > 0)
      throw new Error(`The gateway left exceptions uncaught: ${this.#unexpected.join("\n")}`);
  }

  chat(id: string, body: unknown, headers: Record<string, string> = {}) {
    return send("POST", `${this.url}/v1/chat/completions`, {
      headers: { ...this.#auth, "x-conversation-id": id, ...headers },
      body,
    });
  }

  get(path: string) {
    return send("GET", this.url + path, { headers: this.#auth });
  }

  async replay(id: string, from = 0): Promise<Buffer> {
    const answer = await this.get(`/v1/stream?conv_id=${encodeURIComponent(id)}&from=${from}`).answer;
    const bytes = await answer.whole(60_000);
    if (answer.status !== 200) throw new Error(`${id} from ${from}: ${answer.status} ${answer.text}`);
    return bytes;
  }

  async stop(id: string): Promise<number> {
    const url = `${this.url}/v1/stream?conv_id=${encodeURIComponent(id)}`;
    return (await send("DELETE", url, { headers: this.#auth }).answer).status;
  }

  async lookup(ids: string[]): Promise<LookupRow[]> {
    const body = { conversation_ids: ids };
    const answer = await send("POST", `${this.url}/v1/streams/lookup`, { headers: this.#auth, body }).answer;
    return (await answer.json()) as LookupRow[];
  }

  /** Resident memory of the gateway's process. */
  residentBytes(): number {
    return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#gateway.pid}/status`, "utf8"))?.[1]);
  }

  /** Open handles of the gateway's process. */
  handles(): number {
    return readdirSync(`/proc/${this.#gateway.pid}/fd`).length;
  }

  /** The files that hold the rows of an object each. */
  databases(): string[] {
    const files = readdirSync(join(this.storage, "state"), { recursive: true, encoding: "utf8" });
    return files.filter((file) => file.endsWith(".sqlite"));
  }

  async row(id: string): Promise<LookupRow | undefined> {
    return (await this.lookup([id]))[0];
  }

  /** What an undisturbed reader of the origin gets of the session whose prompt is `prompt`: there must be one of it. */
  async atOrigin(prompt: string): Promise<Buffer> {
    const asked = this.back.requests.filter(({ method, body }) => method === "POST" && body.includes(`"${prompt}"`));
    const ids = new Set(asked.map(({ headers }) => headers.get("x-conversation-id") ?? ""));
    const found: Buffer[] = [];
    for (const url of this.origin.urls) {
      for (const id of ids) {
        const answer = await send("GET", `${url}/v1/stream?conv_id=${id}&from=0`).answer;
        const bytes = await answer.whole(60_000);
        if (answer.status === 200) found.push(bytes);
      }
    }
    if (found.length !== 1)
      throw new Error(`The origin has ${found.length} answers to "${prompt}", asked as ${[...ids]}`);
    return found[0] ?? Buffer.alloc(0);
  }

  get #auth() {
    return { authorization: `Bearer ${KEY}` };
  }
}

/** A streaming chat request: `prompt` names it, in the origin's log too. */
export function chatBody(prompt: string, tokens: number, more: Record<string, unknown> = {}) {
  const messages = [{ role: "user", content: prompt }];
  return { messages, max_tokens: tokens, stream: true, seed: 1, cache_prompt: false, ...more };
}

/** The bytes without pings: the only thing that the gateway adds to an answer that it brings to its end. */
export function withoutPings(bytes: Buffer): string {
  return bytes.toString().replace(/(?<=^|\n\n):\n\n/g, "");
}

function startOn(options: Omit<GatewayOptions, "apiKeys">) {
  return startGateway({ ...options, apiKeys: `alice=${KEY} bob=${OTHER_KEY}` });
}

function standIn({ url, close }: StandIn): TestOrigins {
  const unknown = () => Promise.reject(new Error("A stand-in for the origin does not count"));
  const origin: TestOrigin = { url, isReal: false, busySlots: unknown, generations: unknown, kill: close };
  return together([origin]);
}

/** ORIGINS, as JSON. */
function named(urls: readonly string[]): string {
  return JSON.stringify(urls.map((url, i) => ({ name: `origin-${i + 1}`, url })));
}
