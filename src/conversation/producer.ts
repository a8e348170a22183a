/**
 * The origin's bytes into a session: asks, reads until the origin ends, says how it ended. One per session; it goes on
 * whoever is or is not reading.
 */
import type { Origin } from "../origin/origin.ts";
import { EVENT_STREAM, type FailureCode } from "../protocol.ts";
import { EventSplitter, isFinalEvent, lastEventStart, TERMINATOR_PREFIX_BYTES } from "../sse.ts";
import type { Session } from "./session.ts";

/** Taken from the origin in one read: about a second of a fast model. */
const READ_BYTES = 16_384;
/**
 * The longest unfinished event that is held back. llama-server's largest ordinary ones are final events that repeat
 * prompt or answer; longer ones are passed on as they come.
 */
const MAX_HELD_BYTES = 1_048_576;
/** An error answer is kept whole to be given to the client verbatim; llama-server's are under a kilobyte. */
const MAX_REFUSAL_BYTES = 65_536;
/** After a stop before the origin's headers: how long the request is left open, so that a late start is stopped too. */
const LATE_STOP_MS = 30_000;

/** The origin's answer when it did not take the request: given to the client as it is. */
export interface Refusal {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

export class Producer {
  readonly #session: Session;
  readonly #origin: Origin;
  readonly #abort = new AbortController();
  readonly #splitter: EventSplitter;
  #hasAnswer = false;
  /** Where the newest event that is not a comment starts in the log. */
  #lastEvent: number | undefined;

  constructor(session: Session, origin: Origin) {
    this.#session = session;
    this.#origin = origin;
    this.#splitter = new EventSplitter(MAX_HELD_BYTES, (bytes, startsEvent) => this.#take(bytes, startsEvent));
    session.isAtBoundary = () => this.#splitter.atBoundary;
  }

  /** Asks the origin. Returns its answer when it took the request, else why not. Throws ApiError when it is not there. */
  async ask(body: Uint8Array): Promise<{ accepted: Response } | { refusal: Refusal }> {
    const { path, originId } = this.#session.record;
    const response = await this.#origin.generate(path, body, originId, this.#abort.signal);
    this.#hasAnswer = true;
    return response.ok ? { accepted: response } : { refusal: await readRefusal(response) };
  }

  /** Reads the answer to its end and ends the session. Whatever the origin does is an ending, not an exception. */
  async pump(response: Response): Promise<void> {
    const isEvents = contentTypeOf(response).startsWith(EVENT_STREAM);
    const isWhole = await this.#read(response, isEvents);
    if (!this.#session.isLive) return;
    if (isWhole && isFinalEvent(this.#session.record.family, this.#splitter.held)) this.#splitter.flush();
    if (isEvents ? this.#endsWithTerminator() : isWhole) {
      this.#session.finish("done");
    } else if (isWhole) {
      this.#fail("origin_truncated", 502, "The origin ended the answer before it was complete");
    } else {
      this.#fail("origin_lost", 502, "The connection to the origin was lost in the middle of the answer");
    }
  }

  /**
   * Frees the GPU, after the session has ended. Resolves when the origin has heard it, or is not there to hear.
   * Before the origin's headers the request may still be on its way, and a stop that overtakes it stops nothing: it is
   * left open for a while, and whoever runs it calls `stop` again when the answer comes.
   */
  async stop(): Promise<void> {
    if (this.#hasAnswer) this.#abort.abort();
    const isHeard = await this.#origin.stop(this.#session.record.originId);
    if (this.#hasAnswer) return;
    // Without a replay buffer at the origin, its connection is what keeps the generation going.
    if (isHeard) setTimeout(() => this.#abort.abort(), LATE_STOP_MS);
    else this.#abort.abort();
  }

  /** Returns whether the origin ended the body, rather than the connection having been lost. */
  async #read(response: Response, isEvents: boolean): Promise<boolean> {
    if (!response.body) return true;
    const reader = response.body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(READ_BYTES);
    for (;;) {
      const part = await reader.readAtLeast(1, new Uint8Array(buffer)).catch(() => undefined);
      if (!part) return false;
      if (!this.#session.isLive) return false;
      if (part.done || !part.value) return true;
      if (isEvents) this.#splitter.push(part.value);
      else this.#session.append(part.value);
      buffer = part.value.buffer as ArrayBuffer;
    }
  }

  #take(bytes: Uint8Array, startsEvent: boolean): void {
    const start = lastEventStart(bytes);
    if (start > 0 || (start === 0 && startsEvent)) this.#lastEvent = this.#session.log.end + start;
    this.#session.append(bytes);
  }

  #endsWithTerminator(): boolean {
    if (this.#lastEvent === undefined || !this.#splitter.atBoundary) return false;
    const prefix = new Uint8Array(TERMINATOR_PREFIX_BYTES);
    let length = 0;
    while (length < prefix.length) {
      const bytes = this.#session.log.read(this.#lastEvent + length);
      if (!bytes) break;
      const part = bytes.subarray(0, prefix.length - length);
      prefix.set(part, length);
      length += part.length;
    }
    return isFinalEvent(this.#session.record.family, prefix.subarray(0, length));
  }

  #fail(end: FailureCode, code: number, message: string): void {
    this.#session.finish(end, { code, message, type: end });
  }
}

export function contentTypeOf(response: Response): string {
  return response.headers.get("Content-Type") ?? "application/octet-stream";
}

/** The origin's error answer, cut at a size no llama-server reaches. */
async function readRefusal(response: Response): Promise<Refusal> {
  const body = new Uint8Array(await response.arrayBuffer()).slice(0, MAX_REFUSAL_BYTES);
  return { status: response.status, contentType: contentTypeOf(response), body };
}
