/**
 * The origin's bytes into a session: asks, reads, goes on at the exact byte when a connection breaks, says how it ended.
 * One per live session; it goes on whoever is or is not reading.
 *
 *   ask ──▶ read ──▶ terminator seen ──▶ done
 *    │ ▲     │ ▲
 *    │ │     ▼ │ at the byte behind the last whole event
 *    └─┼──▶ attach ──▶ the origin has lost it, or is away too long ──▶ failed
 *      └───────┘ no byte of it ever came, and the origin says that it knows nothing of it
 *
 * A prompt is sent again only on the origin's own word that nothing came of it: llama-server forgets requests that wait
 * for one of its HTTP threads when their connection goes.
 */
import { ApiError } from "../errors.ts";
import { EVENT_START_BYTES, isFinalEvent } from "../families.ts";
import {
  isTunnelStatus,
  type Origin,
  type OriginSession,
  originUnreachable,
  STALE_CONNECTION_MS,
  type StopResult,
} from "../origin/origin.ts";
import { EVENT_STREAM, type FailureCode } from "../protocol.ts";
import { EventSplitter, lastEventStart } from "../sse.ts";
import { Backoff, pause } from "./backoff.ts";
import type { Session } from "./session.ts";

/** Taken from the origin in one read: about a second of a fast model. */
const READ_BYTES = 16_384;
/** While nobody reads, what comes is taken in bursts: reads that need not wait cost less. Ends when somebody comes. */
const UNREAD_PAUSE_MS = 1_000;
/** A read that took this long had to wait for the origin: everything before it is taken. */
const CAUGHT_UP_MS = 5;
/**
 * The longest unfinished event that is held back. llama-server's largest ordinary ones are final events that repeat
 * prompt or answer; longer ones are passed on as they come.
 */
const MAX_HELD_BYTES = 1_048_576;
/** An error answer is kept whole to be given to the client verbatim; llama-server's are under a kilobyte. */
const MAX_REFUSAL_BYTES = 65_536;
/**
 * After a stop that overtook its request: how long that one is left open, so that a late start is stopped too. When the
 * origin knows the id already, as it does milliseconds after the request, the stop has reached it.
 */
const LATE_STOP_MS = 30_000;
/** A request that fails at once met no origin: its client is told so after this, and not after the whole reconnect time. */
const FIRST_CONTACT_MS = 5_000;
/**
 * How often one request is sent to the origin, at the most. A gateway or a tunnel that restarts again and again while the
 * origin is full takes several; a prompt that crashes the origin should not go on to do so for ever.
 */
const MAX_REQUESTS = 8;
/**
 * Between two words of the origin that it knows nothing of a request, before it is sent again: llama-server lists a request
 * only when it has read it and made its prompt, and a gateway that was killed may have sent one just before.
 */
const UNKNOWN_AGAIN_MS = 500;
/** A connection that stood for this long was a good one, even when the origin had nothing to say on it. */
const STEADY_MS = 10_000;
/** Silence after the final event: the answer is complete, whatever keeps the origin from closing. */
const SILENT_END_MS = 5_000;
/** Silence after which the origin is asked whether it has sent bytes that never came: two of its pings and a bit. */
const QUIET_MS = 75_000;

/** How long the origin may be what. Milliseconds. */
export interface ProducerLimits {
  /** Without a connection, before the session is given up. */
  readonly reconnectMs: number;
  /** Connected, without a byte, before the session is given up. */
  readonly originIdleMs: number;
  /** From the request to the last byte. */
  readonly maxGenerationMs: number;
}

/** The origin's answer when it did not take the request: given to the client as it is. */
export interface Refusal {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** What its owner hears from a producer. */
export interface ProducerEvents {
  /** The origin has taken the request. */
  accepted(contentType: string): void;
  /** The first byte of the answer is there, and about to be added to the log: the request is not needed any more. */
  delivered(): void;
  /** The origin could not be told to stop these. */
  unheard(originIds: readonly string[]): void;
}

/** Why the origin did not take the request. */
type Refused = Refusal | ApiError;

/** A connection that goes on, or why there is none. */
type Attached = Response | "lost" | "unreachable";

export class Producer {
  readonly #session: Session;
  readonly #origin: Origin;
  readonly #limits: ProducerLimits;
  readonly #events: ProducerEvents;
  readonly #splitter: EventSplitter;
  readonly #backoff = new Backoff();
  /** Aborted when nothing of the origin is wanted any more. */
  readonly #over = new AbortController();
  /** The request's body, until the first byte of the answer. */
  #request: Uint8Array | undefined;
  /** The current connection; aborted to get another one. */
  #connection = new AbortController();
  /** The origin has answered, with a head or as a session that can be read: a stop reaches all there is. */
  #isAnswered: boolean;
  /** When the origin was last heard of, Unix milliseconds. */
  #heardAt = Date.now();
  #probedAt = 0;
  /** Since when no connection has brought a byte, Unix milliseconds. */
  #brokenAt: number | undefined;
  /** Bytes that came on all connections, and when the watchdog last looked. */
  #received = 0;
  #receivedAtCheck = 0;
  /** A request or its answer is under way: silence is then the origin's, not the network's. */
  #isConnected = false;
  #hasGivenUp = false;

  /** `request` is the body to send: of a session that goes on, only where no byte of the answer had come. */
  constructor(
    session: Session,
    request: Uint8Array | undefined,
    origin: Origin,
    limits: ProducerLimits,
    events: ProducerEvents,
  ) {
    this.#request = request;
    this.#session = session;
    this.#origin = origin;
    this.#limits = limits;
    this.#events = events;
    this.#isAnswered = session.record.contentType !== undefined;
    const release = (bytes: Uint8Array, startsEvent: boolean) => this.#take(bytes, startsEvent);
    this.#splitter = new EventSplitter(MAX_HELD_BYTES, session.log.endsWithEvent(), release);
    session.isAtBoundary = () => this.#splitter.atBoundary;
  }

  /**
   * From the request to the end of the session. Returns why, when the origin did not take it; the session is then the
   * caller's to end.
   */
  async run(): Promise<Refused | undefined> {
    return await this.#watched(() => this.#produce(undefined));
  }

  /** Goes on, as `run`, with a session that a restart of the object left behind. */
  async resume(): Promise<Refused | undefined> {
    // Somebody may have seen more than was stored; how much at the most, the origin tells.
    if (this.#session.record.contentType !== undefined) this.#session.seenOriginBytes = Number.POSITIVE_INFINITY;
    return await this.#watched(async () => {
      const found = await this.#find(this.#limits.reconnectMs);
      if (!this.#session.isLive) return undefined;
      const { state } = found;
      if (found.state === "known") this.#session.seenOriginBytes = found.totalBytes;
      const canAttach = state === "known" && this.#session.record.wantsStream;
      const attached = canAttach ? await this.#attach() : undefined;
      if (!this.#session.isLive) return undefined;
      if (attached instanceof Response) return await this.#produce(attached);
      if ((attached === "lost" || state === "unknown") && this.#askAgain()) return await this.#produce(undefined);
      if (state === "unsupported" || (state === "known" && !canAttach)) {
        this.#fail("interrupted", 503, "The gateway restarted, and the origin cannot go on with the answer");
      } else {
        this.#failLost();
      }
      return undefined;
    });
  }

  /**
   * Frees the GPU, after the session has ended. Resolves when the origin has heard it or cannot be reached; the owner then
   * hears of the ids that are still to be stopped.
   *
   * Before the origin's head the request may still be on its way, and a stop that overtakes it stops nothing: it is left
   * open for a while, and `run` stops again when the answer comes.
   */
  async stop(): Promise<void> {
    if (this.#isAnswered) this.#over.abort();
    const { originId, abandonedIds } = this.#session.record;
    const ids = [originId, ...abandonedIds];
    const results = await this.#stopEach(ids);
    const unheard = ids.filter((_, i) => results[i] === "unreachable");
    if (unheard.length > 0) this.#events.unheard(unheard);
    // Without a replay buffer at the origin, its connection is what keeps the generation going.
    if (this.#isAnswered || results[0] !== "heard") this.#over.abort();
    else void pause(LATE_STOP_MS, this.#over.signal).then(() => this.#over.abort());
  }

  #stopEach(ids: readonly string[]): Promise<StopResult[]> {
    return Promise.all(ids.map((id) => this.#origin.stop(id)));
  }

  /** Does `work` under the watchdog, and stops at the origin what the session then has given up. */
  async #watched<T>(work: () => Promise<T>): Promise<T> {
    const { originIdleMs, maxGenerationMs } = this.#limits;
    const timer = setInterval(() => this.#check(), Math.min(5_000, originIdleMs / 4, maxGenerationMs / 4));
    try {
      return await work();
    } finally {
      clearInterval(timer);
      if (this.#hasGivenUp) await this.stop();
    }
  }

  /** Asks, where there is no connection yet, and reads to the end of the session. */
  async #produce(first: Response | undefined): Promise<Refused | undefined> {
    let connection = first;
    do {
      if (!connection) {
        const opening = await this.#ask();
        if (!this.#session.isLive) {
          // Ended meanwhile; the stop of then may have overtaken the request.
          this.#isAnswered = true;
          await this.stop();
          return undefined;
        }
        if (!(opening instanceof Response)) return opening;
        connection = opening;
      }
      // What an earlier connection may have brought to the origin after all is not wanted: this one has the answer.
      await Promise.all([this.#stopEach(this.#session.record.abandonedIds), this.#pump(connection)]);
      connection = undefined;
    } while (this.#session.isLive && (await this.#isForgotten()) && this.#askAgain());
    this.#failLost();
    return undefined;
  }

  /** Whether no byte had come, and the origin, which remembers its sessions, says that it knows of no such request. */
  async #isForgotten(): Promise<boolean> {
    if (!this.#request) return false;
    const { state } = await this.#find(FIRST_CONTACT_MS);
    return this.#session.isLive && state === "unknown";
  }

  /** Prepares for sending the request once more. Returns whether that is allowed. */
  #askAgain(): boolean {
    if (!this.#session.isLive || !this.#request) return false;
    if (this.#session.record.abandonedIds.length + 1 >= MAX_REQUESTS) return false;
    this.#session.changeOriginId();
    this.#session.seenOriginBytes = 0;
    return true;
  }

  /** A connection with the answer: the request's own or, where the origin has the request already, one that replays. */
  async #ask(): Promise<Response | Refused> {
    const { path, wantsStream } = this.#session.record;
    for (;;) {
      const { originId } = this.#session.record;
      const body = this.#request ?? new Uint8Array(0);
      const started = Date.now();
      let failure: Refused;
      try {
        const response = await this.#connect(async (signal) => {
          const answer = await this.#origin.generate(path, body, originId, signal);
          return answer.ok ? answer : await readRefusal(answer);
        });
        if (response instanceof Response) {
          this.#isAnswered = true;
          if (this.#session.isLive) this.#events.accepted(contentTypeOf(response));
          return response;
        }
        failure = response;
        if (!isTunnelStatus(response.status)) return failure;
      } catch (cause) {
        if (cause instanceof ApiError) return cause;
        failure = originUnreachable(cause);
      }
      if (!this.#session.isLive) return failure;
      // The origin's answer did not reach us. Whether it has the request is asked, never assumed.
      const isQuick = Date.now() - started < STALE_CONNECTION_MS;
      const { state } = await this.#find(isQuick ? FIRST_CONTACT_MS : this.#limits.reconnectMs);
      if (!this.#session.isLive) return failure;
      const canAttach = state === "known" && wantsStream;
      const attached = canAttach ? await this.#attach() : undefined;
      if (attached instanceof Response) return attached;
      const isUnseen = attached === "lost" || state === "unknown";
      if (!this.#session.isLive || !isUnseen || !this.#askAgain()) return failure;
    }
  }

  /**
   * Reads from one connection after another, and ends the session with what the origin ends it. Leaves it live when the
   * origin has nothing (more) of it.
   */
  async #pump(first: Response): Promise<void> {
    const { log, record } = this.#session;
    let connection: Response | undefined = first;
    while (connection) {
      const before = log.originBytes;
      const isEvents = this.#session.isEventStream;
      const isWhole = await this.#read(connection, isEvents);
      if (!this.#session.isLive) return;
      // An origin may end its last event without a blank line.
      if (isWhole && isFinalEvent(record.family, this.#splitter.held)) this.#splitter.flush();
      if (isEvents ? this.#endsWithTerminator() : isWhole) {
        this.#session.finish("done");
        return;
      }
      this.#splitter.discard();
      // A clean end proves little on a way through proxies; a second one with nothing more to say proves it.
      const isAllThereIs: boolean = isWhole && connection !== first && log.originBytes === before;
      const next: Attached | undefined = isEvents && !isAllThereIs ? await this.#attach() : undefined;
      connection = next instanceof Response ? next : undefined;
      if (!connection && isWhole && log.originBytes > 0) this.#failTruncated();
    }
  }

  /** Returns whether the origin ended the body, rather than the connection having been lost. */
  async #read(response: Response, isEvents: boolean): Promise<boolean> {
    if (!response.body) return true;
    const reader = response.body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(READ_BYTES);
    const before = this.#received;
    const started = Date.now();
    this.#isConnected = true;
    try {
      for (;;) {
        let part: ReadableStreamReadResult<Uint8Array>;
        const asked = this.#session.isAttended ? 0 : Date.now();
        try {
          part = await reader.read(new Uint8Array(buffer));
        } catch {
          // The connection was lost, or given up by us.
          return false;
        }
        if (!this.#session.isLive) return false;
        if (part.done || !part.value) return true;
        this.#received += part.value.length;
        if (isEvents) this.#splitter.push(part.value);
        else this.#append(part.value);
        buffer = part.value.buffer as ArrayBuffer;
        if (!this.#session.isAttended && Date.now() - asked >= CAUGHT_UP_MS) {
          await pause(UNREAD_PAUSE_MS, this.#session.attended);
        }
      }
    } finally {
      this.#isConnected = false;
      if (this.#received > before || Date.now() - started > STEADY_MS) {
        this.#brokenAt = undefined;
        this.#backoff.reset();
      }
    }
  }

  /**
   * A new connection at the byte behind the last whole event. `lost`: the origin has not got it; `unreachable`: it was not
   * there within the reconnect time, which runs from the last byte that came.
   */
  async #attach(): Promise<Attached> {
    const { log, record } = this.#session;
    this.#brokenAt ??= Date.now();
    const deadline = this.#brokenAt + this.#limits.reconnectMs;
    const timer = setTimeout(() => this.#connection.abort(), Math.max(0, deadline - Date.now()));
    try {
      while (this.#session.isLive && Date.now() < deadline) {
        await pause(Math.min(this.#backoff.next(), deadline - Date.now()), this.#over.signal);
        if (!this.#session.isLive) break;
        const attachment = await this.#connect((signal) =>
          this.#origin.attach(record.originId, log.originBytes, signal),
        );
        if (!this.#session.isLive) break;
        if (attachment === "lost") return "lost";
        if (attachment !== "unreachable") {
          this.#isAnswered = true;
          this.#session.reattached();
          return attachment.response;
        }
      }
      return "unreachable";
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * What the origin knows of the session; asked until it answers, or for `patienceMs`. Where "nothing" would have the
   * request sent again, it has to say so twice.
   */
  async #find(patienceMs: number): Promise<OriginSession> {
    const deadline = Date.now() + patienceMs;
    let isSure = this.#request === undefined;
    for (;;) {
      await pause(Math.min(this.#backoff.next(), deadline - Date.now()), this.#over.signal);
      const found = await this.#origin.find(this.#session.record.originId);
      if (!this.#session.isLive) return found;
      if (found.state === "unknown" && !isSure) {
        isSure = true;
        await pause(UNKNOWN_AGAIN_MS, this.#over.signal);
      } else if (found.state !== "unreachable" || Date.now() > deadline) {
        return found;
      }
    }
  }

  /** Makes a request under a signal that also ends when the session does. */
  async #connect<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#connection = new AbortController();
    this.#isConnected = true;
    this.#heardAt = Date.now();
    try {
      return await request(AbortSignal.any([this.#over.signal, this.#connection.signal]));
    } finally {
      this.#isConnected = false;
    }
  }

  /** The watchdog: a generation that runs for too long, an origin that is connected and silent. */
  #check(): void {
    if (!this.#session.isLive) return;
    const { originIdleMs, maxGenerationMs } = this.#limits;
    const now = Date.now();
    if (this.#received > this.#receivedAtCheck) {
      this.#receivedAtCheck = this.#received;
      this.#heardAt = now;
    }
    const age = now - this.#session.record.startedAt;
    const silence = now - this.#heardAt;
    if (age > maxGenerationMs) {
      this.#fail(
        "too_long",
        504,
        `The answer was not complete after ${maxGenerationMs / 1000} s, the most it may take`,
      );
    } else if (this.#isConnected && silence > SILENT_END_MS && this.#endsWithTerminator()) {
      this.#connection.abort();
    } else if (this.#isConnected && silence > originIdleMs) {
      this.#fail("origin_timeout", 504, `The origin sent nothing for ${originIdleMs / 1000} s`);
    } else if (
      this.#isConnected &&
      now - Math.max(this.#heardAt, this.#probedAt) > Math.min(QUIET_MS, originIdleMs / 2)
    ) {
      this.#probedAt = now;
      this.#probe().catch((error: unknown) => console.error(error));
    }
  }

  /** Silence may be a prompt being processed, or a connection that died without a word: the origin knows which. */
  async #probe(): Promise<void> {
    const connection = this.#connection;
    const found = await this.#origin.find(this.#session.record.originId);
    if (!this.#session.isLive || connection !== this.#connection) return;
    const received = this.#session.log.originBytes + this.#splitter.held.length;
    if (found.state === "unknown" || (found.state === "known" && found.totalBytes > received)) {
      connection.abort();
    } else if (found.state !== "unreachable" && !this.#isAnswered) {
      // Waiting for a slot, llama-server says nothing at all, for as long as it takes.
      this.#heardAt = Date.now();
    }
  }

  #take(bytes: Uint8Array, startsEvent: boolean): void {
    const start = lastEventStart(bytes);
    const isEventStart = start > 0 || (start === 0 && startsEvent);
    this.#append(bytes, isEventStart ? start : undefined);
  }

  #append(bytes: Uint8Array, eventStart?: number): void {
    // What the origin replays is an event stream, and a replay that has bytes is a request that was taken.
    if (this.#session.record.contentType === undefined) this.#events.accepted(EVENT_STREAM);
    if (this.#request) {
      this.#request = undefined;
      this.#events.delivered();
    }
    this.#session.append(bytes, eventStart);
  }

  #endsWithTerminator(): boolean {
    const { log, record } = this.#session;
    if (log.lastEvent === undefined || !this.#splitter.atBoundary) return false;
    return isFinalEvent(record.family, log.peek(log.lastEvent, EVENT_START_BYTES));
  }

  #failLost(): void {
    this.#fail("origin_lost", 502, "The origin was lost in the middle of the answer, and has not got the rest of it");
  }

  #failTruncated(): void {
    this.#fail("origin_truncated", 502, "The origin ended the answer before it was complete");
  }

  /** Ends a session that the origin did not complete. */
  #fail(end: FailureCode, code: number, message: string): void {
    if (!this.#session.isLive) return;
    this.#session.finish(end, { code, message, type: end });
    this.#hasGivenUp = true;
    this.#over.abort();
  }
}

function contentTypeOf(response: Response): string {
  return response.headers.get("Content-Type") ?? "application/octet-stream";
}

/** The origin's error answer, cut at a size no llama-server reaches. */
async function readRefusal(response: Response): Promise<Refusal> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    parts.push(part);
    length += part.length;
    if (length >= MAX_REFUSAL_BYTES) break;
  }
  const body = new Uint8Array(await new Blob(parts).arrayBuffer());
  return { status: response.status, contentType: contentTypeOf(response), body };
}
