/**
 * Reads one connection to the origin into the session, until it ends. The data plane: per chunk only synchronous calls,
 * from here through the splitter and the session to the log and the readers.
 */

import { type Clock, pause } from "../../clock.ts";
import { EVENT_START_BYTES, isFinalEvent } from "../../families.ts";
import { EventSplitter, lastEventStart } from "../../sse.ts";
import type { Session } from "../session/session.ts";

/** Taken from the origin in one read: about a second of a fast model. */
const READ_BYTES = 16_384;
/** With no reader, the origin is read once per interval: reads that need not wait cost less. A new reader ends the wait. */
const UNATTENDED_READ_INTERVAL_MS = 1_000;
/** A read slower than this waited for the origin, so nothing more is buffered. */
const CAUGHT_UP_MS = 5;
/**
 * The longest unfinished event that is held back. llama-server's largest ordinary ones are final events that repeat
 * prompt or answer; longer ones are passed on as they come.
 */
const MAX_HELD_BYTES = 1_048_576;

export class ConnectionReader {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #splitter: EventSplitter;
  #received = 0;

  constructor(session: Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
    this.#splitter = new EventSplitter(MAX_HELD_BYTES, session.log.endsWithEvent(), (bytes, startsEvent) => {
      const start = lastEventStart(bytes);
      const isEventStart = start > 0 || (start === 0 && startsEvent);
      session.append(bytes, this.#splitter.atBoundary, isEventStart ? start : undefined);
    });
  }

  /** Bytes that came on all connections: what the watchdog listens to. */
  get received(): number {
    return this.#received;
  }

  /** Origin bytes that are here: in the log, or held back as an unfinished event. */
  get originBytes(): number {
    return this.#session.log.originBytes + this.#splitter.held.length;
  }

  /** Whether the log ends with the answer's final event. */
  get isComplete(): boolean {
    const { log, record } = this.#session;
    // An event larger than the retained size has lost its start.
    if (log.lastEvent === undefined || log.lastEvent < log.start || !this.#splitter.atBoundary) return false;
    return isFinalEvent(record.family, log.peek(log.lastEvent, EVENT_START_BYTES));
  }

  /** Reads an event stream. Returns whether the origin ended the body, rather than the connection having been lost. */
  async readEvents(body: ReadableStream<Uint8Array> | null): Promise<boolean> {
    const bodyEnded = await this.#read(body, (chunk) => {
      this.#splitter.push(chunk);
      return true;
    });
    if (!this.#session.isLive) return bodyEnded;
    // An origin may end its last event without a blank line.
    if (bodyEnded && isFinalEvent(this.#session.record.family, this.#splitter.held)) this.#splitter.flush();
    this.#splitter.discard();
    return bodyEnded;
  }

  /** Reads a JSON answer of at most `maxBytes`. Returns as `readEvents`, or that it is larger. */
  async readJson(body: ReadableStream<Uint8Array> | null, maxBytes: number): Promise<boolean | "too_large"> {
    let isTooLarge = false;
    const bodyEnded = await this.#read(body, (chunk) => {
      isTooLarge = this.#session.log.originBytes + chunk.length > maxBytes;
      if (!isTooLarge) this.#session.append(chunk, true);
      return !isTooLarge;
    });
    return isTooLarge ? "too_large" : bodyEnded;
  }

  /** `take` gets views that are valid during the call; it returns whether to go on. */
  async #read(body: ReadableStream<Uint8Array> | null, take: (chunk: Uint8Array) => boolean): Promise<boolean> {
    if (!body) return true;
    const session = this.#session;
    const reader = body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(READ_BYTES);
    for (;;) {
      let part: { readonly done: boolean; readonly value?: Uint8Array | undefined };
      const asked = session.audience.isPresent ? 0 : this.#clock.now();
      try {
        part = await reader.read(new Uint8Array(buffer));
      } catch {
        // The connection was lost, or given up by us.
        return false;
      }
      if (!session.isLive) return false;
      if (part.done || !part.value) return true;
      this.#received += part.value.length;
      if (!take(part.value)) return false;
      buffer = part.value.buffer as ArrayBuffer;
      if (!session.audience.isPresent && this.#clock.now() - asked >= CAUGHT_UP_MS) {
        await pause(this.#clock, UNATTENDED_READ_INTERVAL_MS, session.audience.arrival);
      }
    }
  }
}
