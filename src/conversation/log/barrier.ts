/**
 * The offset from which nothing is visible until it is synced. Several may be raised before the first is synced: the
 * barrier stands where the oldest was raised and goes with the newest, since a frame that was added between them waits for
 * its own sync.
 */
export class Barrier {
  readonly #sync: () => Promise<void>;
  #at: number | undefined;
  #raised = 0;

  /** `sync` as in LogStorage. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Undefined where all is visible. */
  get at(): number | undefined {
    return this.#at;
  }

  /** The returned function syncs, and then lifts what was raised here: to be called when all is written that it is for. */
  raise(end: number): () => Promise<void> {
    this.#at ??= end;
    const raised = ++this.#raised;
    return async () => {
      await this.#sync();
      if (raised === this.#raised) this.#at = undefined;
    };
  }

  /** For when nothing will be synced any more. */
  remove(): void {
    this.#at = undefined;
  }
}
