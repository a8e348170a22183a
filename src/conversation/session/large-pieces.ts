/**
 * Which readers may take a replay in large pieces. Each piece costs a crossing into the runtime's streams, so large ones
 * replay half as fast again; but a client that stalls holds its piece, and what the runtime made of it (2 MB measured for
 * 256 KiB). So only a few readers of the isolate have a large one at a time; the others get pieces that cost little.
 *
 * Holders are not held: one whose object has left memory holds nothing any more.
 */
import { PIECE_BYTES } from "../log/replay-log.ts";

const LARGE_PIECE_BYTES = 262_144;
/** A replay at full speed fills the thread: more at once gain nothing. */
const MOST_HOLDERS = 32;

/** At most MOST_HOLDERS at a time. */
export class LargePieces {
  #holders: WeakRef<object>[] = [];

  /** How much `reader` may take at once from now on, bytes, until it gives that back. */
  take(reader: object): number {
    if (this.#holders.length >= MOST_HOLDERS) this.#holders = this.#holders.filter((holder) => holder.deref());
    if (this.#holders.length >= MOST_HOLDERS) return PIECE_BYTES;
    this.#holders.push(new WeakRef(reader));
    return LARGE_PIECE_BYTES;
  }

  giveBack(reader: object): void {
    this.#holders = this.#holders.filter((holder) => holder.deref() !== reader);
  }
}

/** Of this isolate. */
export const isolatePieces = new LargePieces();
