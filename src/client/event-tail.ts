/**
 * Remembers how a stream of events ends so far, while its bytes pass in pieces of any size.
 *
 *     … data: one ⏎⏎ data: [DONE] ⏎⏎ : ping ⏎⏎ data: tw
 *                    └── last ──┘               └ rest: not whole yet
 *
 * Comments are not events, except the gateway's word that the answer was stopped. Of an event only its start is kept.
 */
import { EVENT_START_BYTES, eventFields, isFinal, type RouteFamily } from "../families.ts";
import { STOPPED_COMMENT } from "../protocol.ts";

export class EventTail {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #last = "";
  #isStopped = false;

  push(bytes: Uint8Array): void {
    const events = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split(/\r?\n\r?\n/);
    this.#rest = events.pop() ?? "";
    // A long event goes on: its end is found by its last few characters.
    if (this.#rest.length > 2 * EVENT_START_BYTES) {
      this.#rest = `${this.#rest.slice(0, EVENT_START_BYTES)} … ${this.#rest.slice(-4)}`;
    }
    for (const event of events) {
      const isComment = event.startsWith(":");
      if (event !== "") this.#isStopped = event === `: ${STOPPED_COMMENT}`;
      if (event !== "" && !isComment) this.#last = event;
    }
  }

  /** Whether the last thing said was that the answer was stopped. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether the last event is whole, and one that ends an answer of this family. */
  isFinal(family: RouteFamily): boolean {
    return this.#rest === "" && this.#last !== "" && isFinal(family, eventFields(this.#last));
  }

  /** The `type` and message of the error event that ended the answer, if that is what the last event is. */
  get error(): { type: string; message: string } | undefined {
    const data = /^data: ?(\{.*"error".*)$/m.exec(this.#last)?.[1];
    return data === undefined ? undefined : errorIn(data);
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
