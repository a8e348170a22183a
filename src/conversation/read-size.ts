/**
 * How many bytes a read from the origin waits for. Each read costs a turn of JavaScript, whatever it brings, so a read
 * should bring all that comes within a time that nobody notices: 2 ms of a fast stream while somebody reads, a quarter
 * of a second while nobody does. A stream of up to 500 events a second is passed on event by event.
 */

const WINDOW_MS = 50;
const DELAY_MS = 2;
const DELAY_UNREAD_MS = 250;
/** About one event: waiting for less than two of them gains nothing. */
const EVENT_BYTES = 256;

export class ReadSize {
  readonly #mostBytes: number;
  #windowStart = 0;
  #windowBytes = 0;
  #bytesPerMs = 0;

  /** `mostBytes`: the size of the buffer that is read into. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** A read brought so many bytes, at `now` in milliseconds. */
  add(bytes: number, now: number): void {
    this.#windowBytes += bytes;
    const elapsed = now - this.#windowStart;
    if (elapsed < WINDOW_MS) return;
    this.#bytesPerMs = this.#windowBytes / elapsed;
    this.#windowStart = now;
    this.#windowBytes = 0;
  }

  /** The least that the next read waits for, bytes. */
  least(hasReaders: boolean): number {
    const bytes = Math.floor(this.#bytesPerMs * (hasReaders ? DELAY_MS : DELAY_UNREAD_MS));
    return bytes < 2 * EVENT_BYTES ? 1 : Math.min(bytes, this.#mostBytes);
  }
}
