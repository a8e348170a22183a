/**
 * A `fetch` that resumes by itself.
 *
 *   app ──▶ fetch ──┬─ a generating POST of a conversation ──▶ POST, sent again until it has headers ──▶ ResumedBody
 *                   └─ anything else ──▶ the fetch underneath
 *
 * The POST carries an `Idempotency-Key`: sent twice, it joins the answer that the first one started.
 */
import { familyOf, type RouteFamily } from "../families.ts";
import type { Asked } from "./asked.ts";
import { firstAnswer, recall } from "./first-answer.ts";
import { absolute, conversationIn, Gateway } from "./gateway.ts";
import { HoldfastError } from "./holdfast-error.ts";
import { Memory } from "./memory.ts";
import type { AnswerState, AttachOptions, Fetch, ResumingFetch, ResumingFetchOptions } from "./options.ts";
import { Patience } from "./patience.ts";
import { answerWith, methodOf, type Repeatable, repeatable, urlOf } from "./requests.ts";
import { ResumedBody } from "./resumed-body.ts";
import { Wakers } from "./wakers.ts";

const STALL_MS = 12_000;
const ANSWER_MS = 60_000;
const GIVE_UP_AFTER_MS = 600_000;
/** A wrong address should be noticed; SDKs try again after it, too. */
const FIRST_GIVE_UP_AFTER_MS = 30_000;

/** A `fetch` for any SDK whose streamed answers survive the network, and what belongs to it. */
export function createResumingFetch(options: ResumingFetchOptions): ResumingFetch {
  const { fetch, ...more } = new Client(options);
  return Object.assign(fetch, more);
}

/** What it shows is the fetch, and the properties that the fetch has. */
class Client {
  readonly #options: ResumingFetchOptions;
  readonly #gateway: Gateway;
  readonly #memory: Memory;
  readonly #wakers = new Wakers();
  readonly #giveUpAfterMs: number;

  constructor(options: ResumingFetchOptions) {
    this.#options = options;
    this.#gateway = new Gateway(options);
    this.#memory = new Memory(options.storage, options.url);
    this.#giveUpAfterMs = options.giveUpAfterMs ?? GIVE_UP_AFTER_MS;
  }

  readonly fetch: Fetch = async (input, init) => {
    const family = this.#familyOf(input, init);
    if (!family) return await this.#gateway.passOn(input, init);
    const request = await repeatable(input, init);
    const id = conversationIn(request.init.headers) ?? (await this.#conversationOf(request));
    if (!id) return await this.#gateway.passOn(request.url, request.init);
    return await asAnswer(this.#ask(request, family, id));
  };

  readonly attach = (id: string, options?: AttachOptions): Promise<Response> => this.#attach(id, options);

  readonly attachFetch =
    (id: string): Fetch =>
    async (input, init) => {
      const family = this.#familyOf(input, init);
      if (!family) return await this.#gateway.passOn(input, init);
      return await asAnswer(this.#attach(id, { signal: init?.signal ?? undefined }, family));
    };

  readonly lookup: ResumingFetch["lookup"] = async (ids, { signal } = {}) => {
    const credentials = this.#memory.get(ids[0] ?? "")?.credentials ?? {};
    return await this.#call((attempt) => this.#gateway.lookup(ids, credentials, attempt), signal);
  };

  readonly stop = async (id?: string): Promise<boolean> => {
    const named = id ?? this.#options.conversationId;
    if (typeof named !== "string") throw new TypeError("stop() needs an id");
    const asked: Asked = this.#memory.get(named) ?? { id: named, credentials: {} };
    asked.session ??= (await this.#memory.stored(named)).session;
    return await this.#stop(asked);
  };

  readonly wake = (): void => this.#wakers.wake();

  async #attach(
    id: string,
    { from = 0, session, signal }: AttachOptions = {},
    family?: RouteFamily,
  ): Promise<Response> {
    const known: Partial<Asked> = this.#memory.get(id) ?? (await this.#memory.stored(id));
    const fence = session ?? (from > 0 ? known.session : undefined);
    const asked: Asked = { id, credentials: known.credentials ?? {}, session: fence };
    const body = this.#body(asked, this.#patience(this.#giveUpAfterMs), from, family);
    const first = await body.open(signal);
    if (known.session === asked.session) asked.key = known.key;
    await this.#memory.remember(asked);
    return answerWith(first, body.stream);
  }

  /** Of a request that may be resumed. */
  #familyOf(input: string | URL | Request, init: RequestInit | undefined): RouteFamily | undefined {
    return methodOf(input, init) === "POST" ? familyOf(this.#gateway.pathOf(urlOf(input)) ?? "") : undefined;
  }

  async #conversationOf({ url, init }: Repeatable): Promise<string | undefined> {
    const { conversationId } = this.#options;
    return typeof conversationId === "function" ? await conversationId(absolute(url), init) : conversationId;
  }

  /** One answer: asked until the gateway has said something, then read to its end. */
  async #ask(request: Repeatable, family: RouteFamily, id: string): Promise<Response> {
    await this.#memory.get(id)?.stopping;
    const asked = await recall(request, id, this.#memory);
    const patience = this.#patience(FIRST_GIVE_UP_AFTER_MS);
    const body = this.#body(asked, patience, 0, family);
    const ask = (attempt: AbortSignal) => firstAnswer(this.#gateway, request, asked, attempt);
    const first = await body.open(request.init.signal, ask, this.#options.answerMs ?? ANSWER_MS);
    delete asked.body;
    patience.giveUpAfterMs = this.#giveUpAfterMs;
    await this.#memory.remember(asked);
    // The stop came when there was no session to name, so it may have come before the request did.
    if (asked.isStopped) this.#stop(asked).catch(() => {});
    return answerWith(first, body.stream);
  }

  async #stop(asked: Asked): Promise<boolean> {
    asked.isStopped = true;
    const stopped = this.#call((attempt) => this.#gateway.stop(asked, attempt));
    asked.stopping = stopped.catch(() => {});
    const isStopped = await stopped;
    await this.#memory.finish(asked);
    // Its body may be waiting for a connection that would only say that it is gone. A request that has no session yet goes
    // on: what it brings is stopped by name.
    if (asked.session) asked.wake?.();
    return isStopped;
  }

  #body(asked: Asked, patience: Patience, from: number, family: RouteFamily | undefined): ResumedBody {
    asked.wake = () => patience.wake();
    return new ResumedBody({
      gateway: this.#gateway,
      asked,
      patience,
      family,
      from,
      onState: (state) => {
        this.#say(state);
        if (state.name !== "ended") return;
        if (state.how !== "detached") void this.#memory.finish(asked);
        // Whoever aborts does not wait, and is not told; a request behind it waits for the stop.
        else if (this.#options.stopOnAbort) this.#stop(asked).catch(() => {});
      },
    });
  }

  #say(state: AnswerState): void {
    try {
      this.#options.onState?.(state);
    } catch (error) {
      console.error(error);
    }
  }

  #patience(giveUpAfterMs: number): Patience {
    const { stallMs = STALL_MS } = this.#options;
    return new Patience(this.#wakers, stallMs, Math.min(this.#giveUpAfterMs, giveUpAfterMs));
  }

  async #call<Value>(act: (attempt: AbortSignal) => Promise<Value>, signal?: AbortSignal): Promise<Value> {
    const patience = this.#patience(FIRST_GIVE_UP_AFTER_MS);
    patience.heed(signal, () => patience.end());
    return await patience.keepTrying(act).finally(() => patience.end());
  }
}

/** A refusal is an answer too, so that an SDK raises what it raises for one of that status. */
async function asAnswer(answer: Promise<Response>): Promise<Response> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof HoldfastError && error.response) return error.response;
    throw error;
  }
}
