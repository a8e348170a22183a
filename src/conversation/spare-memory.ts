/**
 * What the logs of one isolate may keep in memory beyond what each of them needs, so that a replay soon after need not come
 * from SQLite. One bound for all of them, since they share the isolate's 128 MB: whoever has kept something for the
 * longest lets go of it first.
 *
 * Owners are not held: what belongs to an object that has left memory goes with it.
 */

/** Somebody who keeps pieces of memory, and lets go of them in the order in which they were kept. */
export interface SpareOwner {
  dropOldestSpare(): void;
}

export class SpareMemory {
  readonly #limit: number;
  #kept: { owner: WeakRef<SpareOwner>; bytes: number }[] = [];
  #bytes = 0;

  /** `limit` in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** `owner` keeps a piece of so many bytes. */
  keep(owner: SpareOwner, bytes: number): void {
    this.#kept.push({ owner: new WeakRef(owner), bytes });
    this.#bytes += bytes;
    while (this.#bytes > this.#limit) {
      const oldest = this.#kept.shift();
      if (!oldest) return;
      this.#bytes -= oldest.bytes;
      oldest.owner.deref()?.dropOldestSpare();
    }
  }
}
