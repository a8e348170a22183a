/**
 * Waiting between tries: not at all before the first, then doubling with jitter, so that the thousand sessions of an
 * origin that comes back do not all knock at once.
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

  /** There was progress: the next trouble is a new one. */
  reset(): void {
    this.#range = 0;
  }
}

/** Resolves after `ms`, or at once when `signal` is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener("abort", finish);
  });
}
