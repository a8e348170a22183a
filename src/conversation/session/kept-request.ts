/**
 * The request of a session, kept until the first byte of its answer (I3). In memory only until it is first taken: a request
 * may wait for hours, and its body be large.
 */
export class KeptRequest {
  readonly #stored: () => Uint8Array | undefined;
  #inMemory: Uint8Array | undefined;
  #isHeld: boolean;

  /** `request`: its body, if it has just come; of a restored session, whether it is stored. */
  constructor(request: Uint8Array | boolean, stored: () => Uint8Array | undefined) {
    this.#inMemory = typeof request === "boolean" ? undefined : request;
    this.#isHeld = request !== false;
    this.#stored = stored;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** The body. Throws when it is not held. */
  take(): Uint8Array {
    const request = this.#inMemory ?? this.#stored();
    this.#inMemory = undefined;
    if (!request) throw new Error("I3: the request is not stored, and no byte of its answer is");
    return request;
  }

  forget(): void {
    this.#inMemory = undefined;
    this.#isHeld = false;
  }
}
