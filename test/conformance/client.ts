/**
 * The routes of the contract, as one client of one target calls them, and the answers that the tests ask for.
 *
 * Everything that a client started is ended by `cleanUp()`, so that a test that failed leaves no slot busy.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { until } from "../../tools/wait.ts";
import { type Answer, type Exchange, type SendOptions, send } from "../support/http.ts";
import type { SuiteLimits, Target } from "./target.ts";

export interface Row {
  conversation_id: string;
  is_done: boolean;
  total_bytes: number;
  started_at: number;
  completed_at: number;
  /** Only on Holdfast. */
  session?: string;
  end?: string | null;
  dropped_bytes?: number;
}

export interface PostOptions extends SendOptions {
  /** The conversation id. Without one the answer is not resumable. */
  id?: string;
  path?: string;
}

type Body = Record<string, unknown>;

export const MESSAGES = [{ role: "user", content: "hi" }];

/** A different id for every test, so that no test meets another one's sessions. */
export function freshId(name = "c"): string {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

export class Client {
  readonly target: Target;
  readonly #key: string | undefined;
  readonly #exchanges: Exchange[] = [];
  readonly #ids = new Set<string>();

  constructor(target: Target, key = target.apiKey) {
    this.target = target;
    this.#key = key;
  }

  /** Sends a request with this client's key. A path or a whole URL. */
  send(method: string, path: string, options: SendOptions = {}): Exchange {
    const headers = { ...bearer(this.#key), ...options.headers };
    const exchange = send(method, new URL(path, this.target.url).href, { ...options, headers });
    this.#exchanges.push(exchange);
    return exchange;
  }

  /** Sends a generating POST; the answer may be long in coming. */
  sendPost(body: unknown, { id, path = "/v1/chat/completions", headers, ...options }: PostOptions = {}): Exchange {
    if (id) this.#ids.add(id);
    return this.send("POST", path, { ...options, body, headers: { ...(id && idHeader(id)), ...headers } });
  }

  /** A generating POST, answered. */
  post(body: unknown, options: PostOptions = {}): Promise<Answer> {
    return this.sendPost(body, options).answer;
  }

  replay(id: string, from?: number | string, options: SendOptions = {}): Promise<Answer> {
    return this.send("GET", streamPath(id, from), options).answer;
  }

  head(id: string): Promise<Answer> {
    return this.send("HEAD", streamPath(id)).answer;
  }

  stop(id: string): Promise<Answer> {
    return this.send("DELETE", streamPath(id)).answer;
  }

  async lookup(...ids: unknown[]): Promise<Row[]> {
    return (await this.lookupBody({ conversation_ids: ids })).json() as Promise<Row[]>;
  }

  lookupBody(body: unknown): Promise<Answer> {
    return this.send("POST", "/v1/streams/lookup", { body }).answer;
  }

  /** The id's row, once its session has ended. */
  ended(id: string): Promise<Row> {
    return until(async () => (await this.lookup(id)).find((row) => row.is_done), `the session ${id} has ended`, 20_000);
  }

  /** Another key's. */
  other(): Client {
    return new Client(this.target, this.target.otherKey);
  }

  /** Waits until so many of the origin's slots are busy. */
  async busySlots(count: number): Promise<void> {
    const busy = async () => (await this.slots()).filter((slot) => slot.is_processing).length;
    await until(async () => (await busy()) === count, `${count} slots of the origin are busy`);
  }

  /** The origin's. */
  async slots(): Promise<Array<{ is_processing: boolean }>> {
    const answer = await this.sendToOrigin("GET", "/slots").answer;
    return answer.json() as Promise<Array<{ is_processing: boolean }>>;
  }

  sendToOrigin(method: string, path: string, options: SendOptions = {}): Exchange {
    const { origin } = this.target;
    assert.ok(origin, "This needs an origin");
    return send(method, origin.url + path, { ...options, headers: bearer(origin.apiKey) });
  }

  /** What is known of servers that were started for this. */
  get suite(): SuiteLimits {
    assert.ok(this.target.suite, "This needs the suite's own servers");
    return this.target.suite;
  }

  async cleanUp(): Promise<void> {
    const ids = [...this.#ids];
    this.#ids.clear();
    for (const exchange of this.#exchanges.splice(0)) exchange.destroy();
    await Promise.all(ids.map(async (id) => (await this.stop(id)).closed));
    this.#exchanges.splice(0);
  }

  /** A chat answer of a few words. */
  short(more: Body = {}): Body {
    return this.#chat(12, more);
  }

  /** A chat answer that takes about a third of a second: long enough to leave in the middle of it. */
  unhurried(more: Body = {}): Body {
    return this.#chat(this.target.unhurriedTokens, more);
  }

  /** A chat answer that is still going on when the test has seen enough. Whoever asks for it stops it. */
  endless(more: Body = {}): Body {
    return this.#chat(20_000, more);
  }

  /** A chat answer of so many events of about 8.6 KB, 1,000 of them a second: slower than a client reads. */
  huge(tokens: number): Body {
    return this.#chat(tokens, { logprobs: true, top_logprobs: 100, demo: { pace_ms: 1, event_bytes: 8600 } });
  }

  /** A chat answer that takes seconds to begin, so that the origin sends a ping first. */
  slowPrompt(): Body {
    const messages = [{ role: "user", content: "x".repeat(this.suite.slowPromptChars) }];
    return this.#chat(5, { messages, cache_prompt: false, sse_ping_interval: 1, demo: { first_token_ms: 1300 } });
  }

  /** Of whatever family, for the target's model. */
  body(fields: Body): Body {
    const { model } = this.target;
    return { ...(model !== undefined && { model }), ...fields };
  }

  /** A model that has said what it wanted goes on to the last token. */
  #chat(maxTokens: number, more: Body): Body {
    const usual = { messages: MESSAGES, stream: true, seed: 7, max_tokens: maxTokens, ignore_eos: true };
    return this.body({ ...usual, ...more });
  }
}

function bearer(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}

/** The id's bytes, one character a byte, which is how node:http takes a header that is not ASCII. */
function idHeader(id: string): Record<string, string> {
  return { "x-conversation-id": Buffer.from(id).toString("latin1") };
}

export function streamPath(id: string, from?: number | string): string {
  const query = `/v1/stream?conv_id=${encodeURIComponent(id)}`;
  return from === undefined ? query : `${query}&from=${from}`;
}

export function text(answer: Buffer): string {
  return events(answer)
    .map((event) => event.choices?.[0]?.delta?.content ?? "")
    .join("");
}

/** The JSON of every `data:` line but `[DONE]`. */
// biome-ignore lint/suspicious/noExplicitAny: eight shapes of events; a wrong one fails the test that reads it
export function events(answer: Buffer): any[] {
  const lines = answer.toString().split("\n");
  return lines.filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice("data: ".length)));
}
