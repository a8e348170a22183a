/** One connection's body, read piece by piece. A read that was overtaken by something else is not lost: it is asked for again. */

/** What a read brought. Any rejected read is a drop, whatever the runtime calls it. */
export type Piece = { bytes: Uint8Array } | { end: "clean" } | { end: "dropped"; cause: unknown };

export class Connection {
  /** Bytes it has delivered. */
  received = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #abort: AbortController;
  #pending: Promise<Piece> | undefined;

  /** `abort` ends the request whose answer this is. */
  constructor(response: Response, abort: AbortController) {
    if (!response.body) {
      throw new TypeError("This fetch does not stream; expo/fetch does");
    }
    this.#reader = response.body.getReader();
    this.#abort = abort;
  }

  /** The same promise until it is taken. */
  read(): Promise<Piece> {
    this.#pending ??= this.#reader.read().then(
      ({ done, value }): Piece => (done ? { end: "clean" } : { bytes: value }),
      (cause: unknown): Piece => ({ end: "dropped", cause }),
    );
    return this.#pending;
  }

  take(piece: Piece): void {
    this.#pending = undefined;
    if ("bytes" in piece) this.received += piece.bytes.length;
  }

  close(): void {
    // Both: not every runtime ends the body with the request. What either says of it is of no interest any more.
    this.#reader.cancel().catch(() => {});
    this.#abort.abort();
  }
}
