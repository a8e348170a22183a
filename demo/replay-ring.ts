/**
 * The newest bytes of one generation, and everybody who waits for more of them.
 *
 *     dropped             kept               not generated yet
 *   0 ────────── start ──────────── end ───────────────▶
 *
 * Offsets are absolute and count bytes, not events. As in llama-server, the oldest bytes go first and in any place
 * of an event. Every reader keeps its own offset; nothing is queued for it here.
 */

/** llama-server's bound for one session, in bytes. */
export const RING_BYTES = 4 * 1024 * 1024;

const FIRST_ALLOCATION_BYTES = 16 * 1024;

export class ReplayRing {
  #bytes = Buffer.allocUnsafe(FIRST_ALLOCATION_BYTES);
  #end = 0;
  #closed = false;
  readonly #waiting = new Set<() => void>();

  get start(): number {
    return Math.max(0, this.#end - RING_BYTES);
  }

  get end(): number {
    return this.#end;
  }

  /** No byte will follow. */
  get closed(): boolean {
    return this.#closed;
  }

  append(bytes: Uint8Array): void {
    if (this.#closed || bytes.length === 0) return;
    this.#growTo(this.#end + bytes.length);
    let from = 0;
    while (from < bytes.length) {
      const at = this.#end % this.#bytes.length;
      const part = bytes.subarray(from, from + this.#bytes.length - at);
      this.#bytes.set(part, at);
      this.#end += part.length;
      from += part.length;
    }
    this.wake();
  }

  close(): void {
    this.#closed = true;
    this.wake();
  }

  /** A copy of at most `max` kept bytes from `offset`, which must be in `start..end`. */
  read(offset: number, max: number): Buffer {
    const at = offset % this.#bytes.length;
    const length = Math.min(max, this.#end - offset, this.#bytes.length - at);
    return Buffer.from(this.#bytes.subarray(at, at + length));
  }

  /** Resolves at the next append or close, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  /** Lets everybody who waits look again. */
  wake(): void {
    for (const resolve of [...this.#waiting]) resolve();
  }

  /** Until the full size is reached the ring has not wrapped yet, so growing is a plain copy. */
  #growTo(end: number): void {
    let size = this.#bytes.length;
    if (end <= size || size === RING_BYTES) return;
    while (size < end && size < RING_BYTES) size *= 2;
    const larger = Buffer.allocUnsafe(size);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
