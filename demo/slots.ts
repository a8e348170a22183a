/**
 * The slots of the demo origin: how many generations run at once, and the line of those that wait for one.
 * Whoever takes a slot gives it back with `free`, exactly once.
 */
export interface Slot {
  readonly id: number;
  busy: boolean;
  /** Tokens of the generation in it, or of the last one. */
  decoded: number;
}

export class Slots {
  readonly all: readonly Slot[];
  readonly #line: Array<(slot: Slot) => void> = [];

  constructor(count: number) {
    this.all = Array.from({ length: count }, (_, id) => ({ id, busy: false, decoded: 0 }));
  }

  get busy(): number {
    return this.all.filter((slot) => slot.busy).length;
  }

  get queued(): number {
    return this.#line.length;
  }

  /** Waits for a free slot, first come first served. `undefined` when `signal` aborted first. */
  take(signal: AbortSignal): Promise<Slot | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    const free = this.all.find((slot) => !slot.busy);
    if (free) return Promise.resolve(occupy(free));
    return new Promise((resolve) => {
      const leave = () => {
        this.#line.splice(this.#line.indexOf(enter), 1);
        resolve(undefined);
      };
      const enter = (slot: Slot) => {
        signal.removeEventListener("abort", leave);
        resolve(slot);
      };
      this.#line.push(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  free(slot: Slot): void {
    slot.busy = false;
    this.#line.shift()?.(occupy(slot));
  }
}

function occupy(slot: Slot): Slot {
  slot.busy = true;
  slot.decoded = 0;
  return slot;
}
