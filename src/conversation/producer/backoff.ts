/**
 * The wait before each try: none before the first, then doubling with jitter, so that the thousand sessions of an origin
 * that comes back do not all connect at once.
 */

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

export class Backoff {
  #range = 0;

  /** The next wait, milliseconds. */
  next(): number {
    const wait = this.#range * (0.5 + Math.random() / 2);
    this.#range = Math.min(LONGEST_MS, Math.max(FIRST_MS, 2 * this.#range));
    return wait;
  }

  /** The answer grew: the next failure is a new one. */
  reset(): void {
    this.#range = 0;
  }
}
