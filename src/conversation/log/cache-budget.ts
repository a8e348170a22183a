/**
 * Isolate-wide byte budget for replay caches, oldest evicted first. Logs keep flushed bytes in memory beyond what each of
 * them needs, so that a replay soon after need not come from SQLite. One budget for all of them, since they share the
 * isolate's 128 MB.
 *
 * Owners are not held: the cache of an object that has left memory goes with it.
 */

/** Keeps pieces of memory, and can free them in the order in which it reported them. */
export interface CacheOwner {
  evictOldest(): void;
}

export class CacheBudget {
  readonly #maxBytes: number;
  #pieces: { owner: WeakRef<CacheOwner>; bytes: number }[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** `owner` caches one more piece. Evicts what is over the budget, this very piece if it alone is. */
  add(owner: CacheOwner, bytes: number): void {
    this.#pieces.push({ owner: new WeakRef(owner), bytes });
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) {
      const oldest = this.#pieces.shift();
      if (!oldest) return;
      this.#bytes -= oldest.bytes;
      oldest.owner.deref()?.evictOldest();
    }
  }
}

/** An eighth of what an isolate may use. */
export const isolateCache = new CacheBudget(16 * 1_048_576);
