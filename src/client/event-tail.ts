/**
 * Remembers how a stream of events ends so far, while its bytes pass in pieces of any size.
 *
 *     … data: one ⏎⏎ data: [DONE] ⏎⏎ : ping ⏎⏎
 *                    └── last ──┘
 *
 * Comments are not events, except the gateway's word that the answer was stopped.
 */
import { createParser } from "eventsource-parser";
import { EVENT_START_BYTES, isError, isFinal, type RouteFamily } from "../families.ts";
import { STOPPED_COMMENT } from "../protocol.ts";

export class EventTail {
  /** Whether the last thing said was that the answer was stopped. */
  isStopped = false;
  readonly #decoder = new TextDecoder();
  readonly #parser = createParser({
    onEvent: ({ event = "", data }) => {
      this.#last = { event, data };
      this.isStopped = false;
    },
    onComment: (comment) => {
      this.isStopped = comment === STOPPED_COMMENT;
    },
  });
  #last = { event: "", data: "" };
  /** Of a line that is not whole yet. */
  #rest = "";
  #isBehindBlankLine = false;

  /** The parser gets one line at a time: its time for a piece grows with the square of it. */
  push(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    // Of a long line the middle is left out: an error with a long message is JSON all the same.
    if (this.#rest.length > 2 * EVENT_START_BYTES)
      this.#rest = this.#rest.slice(0, EVENT_START_BYTES) + this.#rest.slice(-EVENT_START_BYTES);
    for (const line of lines) {
      this.#isBehindBlankLine = /^\r?$/.test(line);
      this.#parser.feed(`${line}\n`);
    }
  }

  /** Whether the last event is whole, and one that ends an answer of this family. */
  isFinal(family: RouteFamily): boolean {
    return this.#rest === "" && this.#isBehindBlankLine && isFinal(family, this.#last);
  }

  /** The error event that ended the answer, if that is what the last event is: whatever its shape, it is no success. */
  get error(): { type: string; message: string } | undefined {
    const { data } = this.#last;
    return isError(this.#last) ? (errorIn(data) ?? { type: "", message: data }) : undefined;
  }
}

/** The error in JSON of llama-server's shape. */
export function errorIn(json: string): { type: string; message: string } | undefined {
  try {
    const { error } = JSON.parse(json) as { error?: { type?: unknown; message?: unknown } };
    return typeof error?.type === "string" ? { type: error.type, message: String(error.message) } : undefined;
  } catch {
    // Not JSON, or only the start of it: of something else.
    return undefined;
  }
}
