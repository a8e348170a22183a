/**
 * One of the gateway's origins: its calls, and what this isolate knows of it. All that it remembers are plain values, which
 * any request may read; I/O is each request's own. What is asked for all is taken by one request, for a limited time.
 */
import { type Clock, pause } from "../clock.ts";
import type { Candidate } from "./choose.ts";
import { Health } from "./health.ts";
import { type ModelList, parseModels } from "./models.ts";
import {
  type Attachment,
  type Opening,
  Origin,
  type OriginCalls,
  type OriginSession,
  STALE_CONNECTION_MS,
  type StopResult,
} from "./origin.ts";
import { readAtMost } from "./origin-answer.ts";
import type { OriginConfig } from "./origins-config.ts";
import { fetchOrigin } from "./transport.ts";

/** How long a list of models is believed: a router loads and unloads within minutes. */
const LIST_TTL_MS = 15_000;
/** When a list that came late is asked for again. */
const LATE_LIST_MS = 1_000;
/**
 * How long a short question may take: a server on the way through a tunnel answers within a second, and a request may be
 * waiting for it. Counted in steps, a timer each: an isolate that is busy with a thousand new requests is seconds late with
 * its timers and with what it reads, and then it is not the origin that is slow.
 */
export const QUESTION_TIMEOUT_MS = 2_000;
const QUESTION_STEPS = 20;
/** How long all the steps together may take; after that another request asks again. */
const LONGEST_QUESTION_MS = 20_000;
/** A thousand rows of a llama-server, with their details. */
const MAX_LIST_BYTES = 2_097_152;
/** By then the runtime has noticed every connection that the server has closed. */
const ASK_AGAIN_MS = 50;

interface ShortAnswer {
  readonly status: number;
  readonly text: string;
}

export class PooledOrigin implements OriginCalls {
  readonly config: OriginConfig;
  readonly #origin: Origin;
  readonly #clock: Clock;
  readonly #health = new Health();
  /** The last one that it sent, however old. */
  #list: ModelList | undefined;
  /** When the next one is to be asked for, Unix milliseconds. */
  #listDueAt = 0;
  /** Until when the request that asks for one is expected to have it, Unix milliseconds. */
  #askedUntil = 0;

  constructor(config: OriginConfig, clock: Clock) {
    this.config = config;
    this.#origin = new Origin(config);
    this.#clock = clock;
  }

  get candidate(): Candidate {
    const { name, weight, models } = this.config;
    return { name, weight, models, listed: this.#list?.statuses, isAvailable: this.isAvailable };
  }

  get isAvailable(): boolean {
    return this.#health.isAvailable;
  }

  get list(): ModelList | undefined {
    return this.#list;
  }

  /** Whether all is known that there is to know now: nothing to ask, nothing to wait for. */
  get isKnown(): boolean {
    const now = this.#clock.now();
    if (!this.isAvailable) return !this.#health.isCheckDue(now);
    return now < this.#listDueAt || (this.#list !== undefined && now < this.#askedUntil);
  }

  /** Whether a request asks for its first list: worth waiting for, since without it nobody knows what it serves. */
  get isAwaited(): boolean {
    return this.isAvailable && !this.#list && this.#clock.now() < this.#askedUntil;
  }

  /** Learns what is due, unless another request does; never takes long, and never throws. */
  async learn(): Promise<void> {
    const now = this.#clock.now();
    if (!this.isAvailable) {
      if (this.#health.takeCheck(now)) await this.#check();
    } else if (now >= Math.max(this.#listDueAt, this.#askedUntil)) {
      this.#askedUntil = now + LONGEST_QUESTION_MS;
      await this.askModels();
      this.#askedUntil = 0;
    }
  }

  /** The request that asks is gone, with its client: the next one asks. */
  forgetAsking(): void {
    this.#askedUntil = 0;
  }

  /** Its list of models, `undefined` if it does not send one. */
  async askModels(): Promise<ModelList | undefined> {
    const answer = await this.ask("/v1/models");
    if (typeof answer === "string") {
      if (answer === "away") this.failed();
      else this.#late();
      return undefined;
    }
    this.answered();
    this.#listDueAt = this.#clock.now() + LIST_TTL_MS;
    const list = answer.status === 200 ? parseModels(answer.text) : undefined;
    this.#list = list ?? this.#list;
    return list;
  }

  /** A connection to it broke: asks whether it is there at all. */
  async isThere(): Promise<boolean> {
    const isAway = (await this.ask("/health")) === "away";
    if (isAway) this.failed();
    return !isAway;
  }

  /**
   * A short question. `away`: the origin is not there; another server may answer in its place. Asked again where its connection
   * fails at once: the server may just have closed it.
   */
  async ask(path: string): Promise<ShortAnswer | "away" | "late"> {
    const startedAt = this.#clock.now();
    let answer = await this.#askOnce(path);
    if (answer === "away" && this.#clock.now() - startedAt < STALE_CONNECTION_MS) {
      await pause(this.#clock, ASK_AGAIN_MS, new AbortController().signal);
      answer = await this.#askOnce(path);
    }
    return typeof answer !== "string" && answer.status >= 500 ? "away" : answer;
  }

  async #askOnce(path: string): Promise<ShortAnswer | "away" | "late"> {
    const late = new AbortController();
    const cancel = this.#patience(() => late.abort());
    try {
      const response = await fetchOrigin(this.config, path, { headers: new Headers(), signal: late.signal });
      return { status: response.status, text: new TextDecoder().decode(await readAtMost(response, MAX_LIST_BYTES)) };
    } catch {
      return late.signal.aborted ? "late" : "away";
    } finally {
      cancel();
    }
  }

  /** Calls `end` when a short question has taken too long. The returned function cancels. */
  #patience(end: () => void): () => void {
    const lastStepBy = this.#clock.now() + LONGEST_QUESTION_MS;
    let stepsLeft = QUESTION_STEPS;
    let cancel = () => {};
    const step = () => {
      if (stepsLeft === 0 || this.#clock.now() >= lastStepBy) return end();
      stepsLeft -= 1;
      cancel = this.#clock.after(QUESTION_TIMEOUT_MS / QUESTION_STEPS, step);
    };
    step();
    return () => cancel();
  }

  /** A machine that is busy to the last core answers late, and is there: only the second time in a row counts. */
  #late(): void {
    this.#listDueAt = this.#clock.now() + LATE_LIST_MS;
    this.#mark((now) => this.#health.broke(now));
  }

  /** A request was answered by the origin. */
  answered(): void {
    this.#health.answered();
  }

  /** A request did not reach it, or came before it takes any. */
  failed(): void {
    this.#mark((now) => this.#health.failed(now));
  }

  async generate(path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Opening> {
    const opening = await this.#origin.generate(path, body, originId, signal);
    if ("opened" in opening) this.answered();
    else if (opening.isUntaken) this.failed();
    else this.#heard("refused" in opening, signal.aborted);
    return opening;
  }

  async attach(originId: string, from: number, signal: AbortSignal): Promise<Attachment> {
    const attachment = await this.#origin.attach(originId, from, signal);
    this.#heard(attachment !== "unreachable", signal.aborted);
    return attachment;
  }

  async find(originId: string): Promise<OriginSession> {
    const found = await this.#origin.find(originId);
    this.#heard(found.state !== "unreachable", false);
    return found;
  }

  async stop(originId: string): Promise<StopResult> {
    const result = await this.#origin.stop(originId);
    this.#heard(result !== "unreachable", false);
    return result;
  }

  /** What was aborted says nothing of the origin. */
  #heard(isThere: boolean, isAborted: boolean): void {
    if (isThere) this.answered();
    else if (!isAborted) this.#mark((now) => this.#health.broke(now));
  }

  #mark(mark: (now: number) => void): void {
    const wasAvailable = this.isAvailable;
    mark(this.#clock.now());
    if (wasAvailable && !this.isAvailable) {
      console.log(JSON.stringify({ event: "origin_away", origin: this.config.name }));
    }
  }

  async #check(): Promise<void> {
    const answer = await this.ask("/health");
    // A server without that route is there as well. A redirect or a refusal is not the server's.
    if (typeof answer === "string") return;
    if (answer.status < 300 || answer.status === 404) await this.askModels();
  }
}
