/**
 * Remembers how a stream of events ends so far, while its bytes pass in pieces of any size.
 *
 *     … data: one ⏎⏎ data: [DONE] ⏎⏎ : ping ⏎⏎
 *                    └── last ──┘
 *
 * Comments are not events, except the gateway's word that the answer was stopped.
 */
import { createParser } from "eventsource-parser";
import { EVENT_START_BYTES, isFinal, type RouteFamily } from "../families.ts";
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
  /** The last few characters: a blank line may come in two pieces. */
  #end = "";
  /** Of the pieces since the last blank line. */
  #length = 0;

  push(bytes: Uint8Array): void {
    const text = this.#decoder.decode(bytes, { stream: true });
    const withBorder = this.#end + text;
    const isLong = this.#length > EVENT_START_BYTES;
    const endsEvent = /\n\r?\n/.test(withBorder);
    // The middle of a long event is left out: the parser would keep it all.
    if (endsEvent || !isLong) this.#parser.feed(isLong ? withBorder : text);
    this.#length = endsEvent ? 0 : this.#length + text.length;
    this.#end = withBorder.slice(-4);
  }

  /** Whether the last event is whole, and one that ends an answer of this family. */
  isFinal(family: RouteFamily): boolean {
    return /\n\r?\n$/.test(this.#end) && isFinal(family, this.#last);
  }

  /** The `type` and message of the error event that ended the answer, if that is what the last event is. */
  get error(): { type: string; message: string } | undefined {
    return errorIn(this.#last.data);
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
