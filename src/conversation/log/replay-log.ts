/**
 * The bytes of one session that can still be replayed: SQLite rows, and the newest bytes in memory.
 *
 *     dropped          rows in SQLite              memory only
 *   0 ───────── start ─────────────────── flushed ─────────────── end
 *                              └──── blocks in memory ───┘
 *                                     visibleEnd: below `end` only while a barrier stands
 *
 * I4: `start` ≤ flushed ≤ `end`, `visibleEnd` ≤ `end`; all that is not flushed is in memory. I5: bytes at an offset never
 * change; dropping old bytes never renumbers newer ones. `start` and `end` only grow.
 *
 * Flushed here when a row's worth has come, and by the session when some seconds have passed.
 *
 * Two kinds of bytes come in. Origin bytes may be seen before they are flushed: after a crash the origin sends them
 * again, to the same offsets. Frames of the gateway (pings, error events) exist nowhere else, so no reader sees one before
 * it is synced; else every offset behind a lost one would be wrong. Nor does a reader see the first byte of an answer
 * before it is synced that there is one (`barrier`).
 */
import { lastEventEnd } from "../../sse.ts";
import type { LogStorage } from "../../storage/sql.ts";
import { Barrier } from "./barrier.ts";
import { type CacheBudget, isolateCache } from "./cache-budget.ts";
import { type LogRow, LogRows } from "./log-rows.ts";
import { RecentBytes } from "./recent-bytes.ts";
import type { Slot } from "./row-keys.ts";

/** Large rows replay 100 times faster than a row per event (platform notes, B.4). */
const MAX_ROW_BYTES = 65_536;
/** What is read at once where nobody asks for more. */
export const PIECE_BYTES = 65_536;
/** CR LF, and the LF of the line before. */
const LONGEST_BLANK_LINE = 3;

/** Thrown to a reader that asks for bytes that were dropped. */
export class OffsetLostError extends Error {
  override readonly name = "OffsetLostError";
  /** The runtime's mark of a connection that is over: it then cuts the reader off without a stack trace in the log. */
  readonly retryable = true;
}

export class ReplayLog {
  readonly #storage: LogStorage;
  readonly #rows: LogRows;
  readonly #recent: RecentBytes;
  readonly #retainedBytes: number;
  readonly #barrier: Barrier;
  #start = 0;
  #flushed = 0;
  #originBytes = 0;
  #lastEvent: number | undefined;
  /** The rows were deleted under the log: only what is in memory is left. */
  #isDetached = false;

  private constructor(storage: LogStorage, rows: LogRows, retainedBytes: number, cache: CacheBudget, last?: LogRow) {
    this.#storage = storage;
    this.#rows = rows;
    this.#retainedBytes = retainedBytes;
    this.#barrier = new Barrier(() => storage.sync());
    if (last) {
      this.#start = rows.first()?.offset ?? 0;
      this.#flushed = last.offset + last.length;
      this.#originBytes = last.originBytes;
      this.#lastEvent = last.lastEvent;
    }
    this.#recent = new RecentBytes(this.#flushed, cache);
  }

  /** An empty log; rows that an earlier session left in the slot are deleted. */
  static create(storage: LogStorage, slot: Slot, retainedBytes: number, cache = isolateCache): ReplayLog {
    const rows = new LogRows(storage.sql, slot);
    rows.deleteAll();
    return new ReplayLog(storage, rows, retainedBytes, cache);
  }

  /** The log as its rows tell it: everything up to the last successful flush. */
  static restore(storage: LogStorage, slot: Slot, retainedBytes: number, cache = isolateCache): ReplayLog {
    const rows = new LogRows(storage.sql, slot);
    return new ReplayLog(storage, rows, retainedBytes, cache, rows.last());
  }

  /** The first offset that can still be replayed. */
  get start(): number {
    return this.#start;
  }

  /** All bytes ever written. */
  get end(): number {
    return this.#recent.end;
  }

  /** Readers see the bytes below. */
  get visibleEnd(): number {
    return this.#barrier.at ?? this.#recent.end;
  }

  /** How many bytes of the origin's answer are in the log; the rest of `end` are frames of the gateway. */
  get originBytes(): number {
    return this.#originBytes;
  }

  /** Where the origin's newest event starts that is not a comment. */
  get lastEvent(): number | undefined {
    return this.#lastEvent;
  }

  /** Whether there may be bytes that are not visible yet. */
  get hasBarrier(): boolean {
    return this.#barrier.at !== undefined;
  }

  get hasUnflushed(): boolean {
    return this.#flushed < this.end;
  }

  /**
   * Adds bytes of the origin's answer: whole events. Copies them. `eventStart` is where in them the last event starts
   * that is not a comment, if one does.
   */
  append(bytes: Uint8Array, eventStart?: number): void {
    if (eventStart !== undefined) this.#lastEvent = this.end + eventStart;
    this.#recent.append(bytes);
    this.#originBytes += bytes.length;
    if (this.end - this.#flushed >= MAX_ROW_BYTES) this.flush();
  }

  /** Adds a frame of the gateway, which readers see when it is synced. Resolves then. */
  async appendFrame(frame: Uint8Array): Promise<void> {
    const syncAndLift = this.#isDetached ? undefined : this.#barrier.raise(this.end);
    this.#recent.append(frame);
    this.flush();
    await syncAndLift?.();
  }

  /** Nothing that is added from here on is visible before all that was written so far survives a crash. Resolves then. */
  barrier(): Promise<void> {
    return this.#barrier.raise(this.end)();
  }

  /**
   * About `bytes` bytes from `offset` on, in one piece or several: views that stay valid. None when none are visible yet.
   * Throws OffsetLostError below `start`.
   */
  read(offset: number, bytes = PIECE_BYTES): Uint8Array[] {
    return this.#readBelow(this.visibleEnd, offset, bytes);
  }

  #readBelow(limit: number, offset: number, bytes: number): Uint8Array[] {
    if (offset >= limit) return [];
    if (offset >= this.#start) {
      const recent = this.#recent.read(offset, limit, bytes);
      if (recent) return recent;
      if (!this.#isDetached) return this.#rows.read(offset, limit, bytes);
    }
    throw new OffsetLostError(`Cannot replay from ${offset}: the kept bytes start at ${this.#start}`);
  }

  /** The bytes from `offset` on, at most `max` of them, as one piece, visible or not. Throws OffsetLostError below `start`. */
  peek(offset: number, max: number): Uint8Array {
    const all = new Uint8Array(Math.max(0, Math.min(max, this.end - offset)));
    for (let length = 0; length < all.length; ) {
      for (const piece of this.#readBelow(offset + all.length, offset + length, PIECE_BYTES)) {
        all.set(piece, length);
        length += piece.length;
      }
    }
    return all;
  }

  /** Whether a frame could be added here without landing inside an event. */
  endsWithEvent(): boolean {
    const tail = this.peek(Math.max(this.#start, this.end - LONGEST_BLANK_LINE), LONGEST_BLANK_LINE);
    return tail.length === 0 || lastEventEnd(tail, tail.length) === tail.length;
  }

  /** Writes what is only in memory to as few rows as possible, and drops what is over the retained size. All or nothing. */
  flush(): void {
    if (this.#isDetached || !this.hasUnflushed) return;
    this.#storage.transaction(() => {
      for (let at = this.#flushed; at < this.end; at += MAX_ROW_BYTES) {
        this.#rows.insert(at, this.peek(at, MAX_ROW_BYTES), this);
      }
    });
    this.#flushed = this.end;
    this.#recent.allowEviction();
    // Whole rows go, the oldest first, as long as the retained size is still there without them.
    const limit = this.end - this.#retainedBytes;
    if (limit - this.#start >= MAX_ROW_BYTES) this.#start = this.#rows.dropBefore(limit);
  }

  /** Deletes the rows. Readers still get what is in memory. */
  delete(): void {
    this.#rows.deleteAll();
    this.detach();
  }

  /** The rows are gone, or about to be: nothing is read from or written to SQLite any more. */
  detach(): void {
    this.#isDetached = true;
    this.#barrier.remove();
  }
}
