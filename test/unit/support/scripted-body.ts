/** The body of an origin's answer: bytes come, end and break off when the test says so. */
export class ScriptedBody {
  readonly stream: ReadableStream<Uint8Array>;
  #controller: ReadableByteStreamController | undefined;
  #isOver = false;

  constructor() {
    this.stream = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
      },
    });
  }

  push(bytes: string | Uint8Array): this {
    if (!this.#isOver) this.#controller?.enqueue(new Uint8Array(Buffer.from(bytes)));
    return this;
  }

  /** The origin ends the answer. */
  end(): this {
    this.#isOver = true;
    this.#controller?.close();
    // A reader that waits with a buffer of its own is only released by this.
    this.#controller?.byobRequest?.respond(0);
    return this;
  }

  /** The connection is lost. */
  drop(): this {
    if (!this.#isOver) this.#controller?.error(new Error("The connection was lost"));
    this.#isOver = true;
    return this;
  }
}
