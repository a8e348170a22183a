/**
 * The newest bytes of a log, in memory, in blocks.
 *
 *     in rows only        evictable        newest blocks
 *   ─────────────────┃─────────────────┃───────────────── end
 *                    first block
 *
 * Invariant I4: the blocks are contiguous, the last one ends at `end`, and they cover all that is not flushed. Only blocks
 * that were full of flushed bytes are ever evicted. Bytes are copied in and never moved, so views that readers were given
 * stay valid, also when their block was evicted.
 */
import type { CacheBudget, CacheOwner } from "./cache-budget.ts";

/** A piece of a replay is then as large from memory as from rows. */
const MAX_BLOCK_BYTES = 65_536;
/** A short answer should not cost a large block: blocks double up to the maximum. */
const MIN_BLOCK_BYTES = 4_096;
/**
 * Live readers move within the newest blocks: they never touch SQLite, and get a stopped session's last bytes although
 * its rows are gone. The newest one alone may have just been begun.
 */
const NEWEST_BLOCKS = 2;

/** Filled from the left. */
interface Block {
  readonly offset: number;
  readonly bytes: Uint8Array;
  length: number;
}

export class RecentBytes implements CacheOwner {
  readonly #budget: CacheBudget;
  #blocks: Block[] = [];
  /** How many of them, the oldest, may be evicted. */
  #evictable = 0;
  #end: number;

  /** Empty; the next byte is the one at offset `end`. */
  constructor(end: number, budget: CacheBudget) {
    this.#end = end;
    this.#budget = budget;
  }

  /** The offset behind the last byte. */
  get end(): number {
    return this.#end;
  }

  append(bytes: Uint8Array): void {
    for (let taken = 0; taken < bytes.length; ) {
      const block = this.#openBlock(bytes.length - taken);
      const part = bytes.subarray(taken, taken + block.bytes.length - block.length);
      block.bytes.set(part, block.length);
      block.length += part.length;
      taken += part.length;
      this.#end += part.length;
    }
  }

  /** Bytes from `from`, which is below `limit`, to `limit`, about `bytes` of them. Undefined where `from` is not in memory. */
  read(from: number, limit: number, bytes: number): Uint8Array[] | undefined {
    const first = this.#blocks.findLastIndex((block) => block.offset <= from);
    if (first < 0) return undefined;
    const pieces: Uint8Array[] = [];
    for (const block of this.#blocks.slice(first, first + bytes / MAX_BLOCK_BYTES)) {
      if (block.offset >= limit) break;
      const end = Math.min(block.length, limit - block.offset);
      pieces.push(block.bytes.subarray(Math.max(0, from - block.offset), end));
    }
    return pieces;
  }

  /** To be called when all bytes are flushed: all but the newest blocks may go from now on. */
  allowEviction(): void {
    while (this.#blocks.length - this.#evictable > NEWEST_BLOCKS) {
      const block = this.#blocks[this.#evictable];
      this.#evictable += 1;
      this.#budget.add(this, block?.bytes.length ?? 0);
    }
  }

  evictOldest(): void {
    if (this.#evictable === 0)
      throw new Error(`I4: the block to evict holds bytes that may not be flushed; end ${this.#end}`);
    this.#blocks.shift();
    this.#evictable -= 1;
  }

  /** The block with room in it; a new one is at least as large as the one before, and as `wanted` where that is allowed. */
  #openBlock(wanted: number): Block {
    const last = this.#blocks.at(-1);
    if (last && last.length < last.bytes.length) return last;
    const size = Math.min(MAX_BLOCK_BYTES, Math.max(MIN_BLOCK_BYTES, 2 * (last?.bytes.length ?? 0), wanted));
    const block = { offset: this.#end, bytes: new Uint8Array(size), length: 0 };
    this.#blocks.push(block);
    return block;
  }
}
