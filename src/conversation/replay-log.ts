/**
 * The bytes of one session that can still be replayed: SQLite rows, and the newest bytes in memory.
 *
 *     dropped          rows in SQLite              memory only
 *   0 ───────── start ─────────────────── stored ──────────────── end
 *                              └──── blocks in memory ───┘
 *                                     visible: what readers may see; below `end` only while something is being stored
 *
 * Offsets are absolute: dropping old bytes never renumbers newer ones. `start`, `stored` and `end` only grow.
 * Bytes leave the write buffer only after their insert succeeded.
 *
 * Two kinds of bytes come in. Origin bytes may be seen before they are stored: after a crash the origin sends them
 * again, to the same offsets. Frames of the gateway (pings, error events) exist nowhere else, so nobody sees one before
 * it is stored; else every offset behind a lost one would be wrong. Neither does anybody see the first byte of an answer
 * before it is stored that there is one (`hideUntilSynced`).
 */

import { lastEventEnd } from "../sse.ts";
import { SLOT_SPAN, type Slot } from "./conversation-table.ts";
import { SpareMemory, type SpareOwner } from "./spare-memory.ts";

/** A row's bytes at the most: large rows replay 100 times faster than a row per event (platform notes, B.4). */
const MAX_ROW_BYTES = 65_536;
/** Of memory: a piece of a replay is then as large from there as from rows. */
const MAX_BLOCK_BYTES = 65_536;
/** A short answer should not cost a large block: blocks double up to the maximum. */
const MIN_BLOCK_BYTES = 4_096;
/**
 * A replay is handed over in pieces of about this size: each costs a crossing into the runtime's streams. A client that
 * stalls in a replay holds one of them.
 */
const READ_BYTES = 262_144;
/** Rows of slow answers are small, those of pings tiny: at most this many are looked at in one turn. */
const READ_ROWS = 256;
/**
 * Live readers move within the newest blocks: they never touch SQLite, and get a stopped session's last bytes although
 * its rows are gone. The newest one alone may have just been begun.
 */
const BLOCKS_IN_MEMORY = 2;
/** Older blocks stay while there is room, of all logs of the isolate together: an eighth of what it may use. */
const SPARE_BYTES = 16 * 1_048_576;
/** CR LF CR LF, and the LF before it. */
const LONGEST_BLANK_LINE = 5;

/** A piece of memory; filled from the left, never moved, so views of the filled part stay valid. */
interface Block {
  readonly offset: number;
  readonly bytes: Uint8Array;
  length: number;
}

/** Where the log's rows live: see ConversationTable. */
export interface LogStorage {
  readonly sql: SqlStorage;
  transactionSync(work: () => void): void;
  /** Resolves when everything written so far survives a crash. */
  sync(): Promise<void>;
}

/** Thrown to a reader that asks for bytes that were dropped. */
export class OffsetLostError extends Error {
  override readonly name = "OffsetLostError";
}

const spareMemory = new SpareMemory(SPARE_BYTES);

export class ReplayLog implements SpareOwner {
  readonly #storage: LogStorage;
  readonly #slot: Slot;
  readonly #retainedBytes: number;
  #start = 0;
  #stored = 0;
  #end = 0;
  #originBytes = 0;
  #lastEvent: number | undefined;
  #blocks: Block[] = [];
  /** How many of them, the oldest, are spare memory. */
  #spareBlocks = 0;
  /** From here on nothing is shown before it is synced. */
  #unsynced: number | undefined;
  #syncs = 0;
  /** The rows were deleted under the log: only what is in memory is left. */
  #isDetached = false;

  private constructor(storage: LogStorage, slot: Slot, retainedBytes: number) {
    this.#storage = storage;
    this.#slot = slot;
    this.#retainedBytes = retainedBytes;
  }

  /** An empty log; rows that an earlier session left in the slot are deleted. */
  static create(storage: LogStorage, slot: Slot, retainedBytes: number): ReplayLog {
    const log = new ReplayLog(storage, slot, retainedBytes);
    log.delete();
    log.#isDetached = false;
    return log;
  }

  /** The log as its rows tell it: everything up to the last successful insert. */
  static restore(storage: LogStorage, slot: Slot, retainedBytes: number): ReplayLog {
    const log = new ReplayLog(storage, slot, retainedBytes);
    const first = log.#row("key >= ? ORDER BY key", log.#key(0));
    const last = log.#row("key < ? ORDER BY key DESC", log.#key(SLOT_SPAN));
    if (first && last) {
      log.#start = first.offset;
      log.#end = log.#stored = last.offset + last.length;
      log.#originBytes = last.originBytes;
      log.#lastEvent = last.lastEvent;
    }
    return log;
  }

  /** The first offset that can still be replayed, bytes. */
  get start(): number {
    return this.#start;
  }

  /** All bytes ever written. */
  get end(): number {
    return this.#end;
  }

  /** How many bytes of the origin's answer are in the log; the rest of `end` are frames of the gateway. */
  get originBytes(): number {
    return this.#originBytes;
  }

  /** Where the origin's newest event starts that is not a comment. */
  get lastEvent(): number | undefined {
    return this.#lastEvent;
  }

  /** Whether there may be bytes that are not shown yet. */
  get isHiding(): boolean {
    return this.#unsynced !== undefined;
  }

  get hasUnstored(): boolean {
    return this.#stored < this.#end;
  }

  /**
   * Adds bytes of the origin's answer: whole events. Copies them. `eventStart` is where in them the last event starts
   * that is not a comment, if one does.
   */
  append(bytes: Uint8Array, eventStart?: number): void {
    if (eventStart !== undefined) this.#lastEvent = this.#end + eventStart;
    this.#write(bytes);
    this.#originBytes += bytes.length;
    if (this.#end - this.#stored >= MAX_ROW_BYTES) this.store();
  }

  /** Adds a frame of the gateway, which readers see when it is stored. Resolves then. */
  async appendFrame(frame: Uint8Array): Promise<void> {
    if (this.#isDetached) {
      this.#write(frame);
      return;
    }
    const turn = this.#hide();
    this.#write(frame);
    this.store();
    await this.#showWhenSynced(turn);
  }

  /** Nothing that is added from here on is seen before all that was written so far survives a crash. Resolves then. */
  async hideUntilSynced(): Promise<void> {
    await this.#showWhenSynced(this.#hide());
  }

  #hide(): number {
    this.#unsynced ??= this.#end;
    return ++this.#syncs;
  }

  async #showWhenSynced(turn: number): Promise<void> {
    await this.#storage.sync();
    // What was hidden later waits for its own sync, and this with it.
    if (turn === this.#syncs) this.#unsynced = undefined;
  }

  /**
   * Some bytes from `offset` on, in one piece or several: views that stay valid. None when there are none yet.
   * Throws OffsetLostError below `start`.
   */
  read(offset: number): Uint8Array[] {
    return this.#readBelow(this.#unsynced ?? this.#end, offset);
  }

  /** As `read`, of the bytes below `limit`. */
  #readBelow(limit: number, offset: number): Uint8Array[] {
    if (offset >= limit) return [];
    const block = this.#blocks.findLastIndex((candidate) => candidate.offset <= offset);
    if (offset < this.#start || (block < 0 && this.#isDetached)) {
      throw new OffsetLostError(`Cannot replay from ${offset}: the kept bytes start at ${this.#start}`);
    }
    if (block < 0) return this.#readRows(limit, offset);
    return this.#readBlocks(limit, offset, block);
  }

  /** Bytes in memory from `offset` to `limit` at the most; they begin in the block with index `first`. */
  #readBlocks(limit: number, offset: number, first: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (const block of this.#blocks.slice(first, first + READ_BYTES / MAX_BLOCK_BYTES)) {
      if (block.offset >= limit) break;
      const end = Math.min(block.length, limit - block.offset);
      pieces.push(block.bytes.subarray(Math.max(0, offset - block.offset), end));
    }
    return pieces;
  }

  /** The bytes from `offset` on, at most `most` of them, as one piece, visible or not. Throws OffsetLostError below `start`. */
  peek(offset: number, most: number): Uint8Array {
    const all = new Uint8Array(most);
    let length = 0;
    while (length < most) {
      const [bytes] = this.#readBelow(this.#end, offset + length);
      if (!bytes) break;
      const wanted = bytes.subarray(0, most - length);
      all.set(wanted, length);
      length += wanted.length;
    }
    return all.subarray(0, length);
  }

  /** Whether a frame could be added here without landing inside an event. */
  endsWithEvent(): boolean {
    const tail = this.peek(Math.max(this.#start, this.#end - LONGEST_BLANK_LINE), LONGEST_BLANK_LINE);
    return tail.length === 0 || lastEventEnd(tail, tail.length) === tail.length;
  }

  /** Writes what is only in memory to SQLite, in as few rows as can be, and drops what is over the retained size. All or nothing. */
  store(): void {
    if (this.#isDetached || !this.hasUnstored) return;
    this.#storage.transactionSync(() => {
      for (let at = this.#stored; at < this.#end; at += MAX_ROW_BYTES) {
        this.#insert(at, this.peek(at, Math.min(MAX_ROW_BYTES, this.#end - at)));
      }
    });
    this.#stored = this.#end;
    this.#spareOldBlocks();
    this.#dropOldest();
  }

  #spareOldBlocks(): void {
    while (this.#blocks.length - this.#spareBlocks > BLOCKS_IN_MEMORY) {
      const block = this.#blocks[this.#spareBlocks];
      this.#spareBlocks += 1;
      spareMemory.keep(this, block?.bytes.length ?? 0);
    }
  }

  /** Called when the isolate has too much in memory. */
  dropOldestSpare(): void {
    this.#blocks.shift();
    this.#spareBlocks -= 1;
  }

  #insert(offset: number, row: Uint8Array): void {
    this.#storage.sql.exec(
      "INSERT INTO log (key, origin_bytes, last_event, data) VALUES (?, ?, ?, ?)",
      this.#key(offset),
      this.#originBytes,
      this.#lastEvent ?? null,
      row,
    );
  }

  /** Deletes the rows. Readers still get what is in memory. */
  delete(): void {
    this.#storage.sql.exec("DELETE FROM log WHERE key >= ? AND key < ?", this.#key(0), this.#key(SLOT_SPAN));
    this.detach();
  }

  /** The rows are gone, or about to be: nothing is read from or written to SQLite any more. */
  detach(): void {
    this.#isDetached = true;
    this.#unsynced = undefined;
  }

  #write(bytes: Uint8Array): void {
    for (let taken = 0; taken < bytes.length; ) {
      const block = this.#openBlock(bytes.length - taken);
      const part = bytes.subarray(taken, taken + block.bytes.length - block.length);
      block.bytes.set(part, block.length);
      block.length += part.length;
      taken += part.length;
      this.#end += part.length;
    }
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

  /** Whole rows go, the oldest first, as long as the retained size is still there without them. */
  #dropOldest(): void {
    const limit = this.#end - this.#retainedBytes;
    if (limit - this.#start < MAX_ROW_BYTES) return;
    const kept = this.#row("key <= ? ORDER BY key DESC", this.#key(limit));
    if (!kept || kept.offset === this.#start) return;
    this.#storage.sql.exec(
      "DELETE FROM log WHERE key >= ? AND key < ?",
      this.#key(this.#start),
      this.#key(kept.offset),
    );
    this.#start = kept.offset;
  }

  /** Stored bytes from `offset` to `limit` at the most, a piece a row. */
  #readRows(limit: number, offset: number): Uint8Array[] {
    // To the last row: a cursor that is left open keeps its statement, and the next read has to prepare another one.
    const rows = this.#storage.sql
      .exec<{ key: number; data: ArrayBuffer }>(
        "SELECT key, data FROM log WHERE key >= (SELECT max(key) FROM log WHERE key <= ?) AND key < ? ORDER BY key LIMIT ?",
        this.#key(offset),
        this.#key(Math.min(offset + READ_BYTES, limit)),
        READ_ROWS,
      )
      .toArray();
    if (rows.length === 0) throw new Error(`The log has no row for offset ${offset} of ${this.#start} to ${this.#end}`);
    return rows.map(({ key, data }) => {
      const start = key - this.#key(0);
      return new Uint8Array(data).subarray(Math.max(0, offset - start), limit - start);
    });
  }

  #row(condition: string, key: number): Row | undefined {
    const query = `SELECT key, origin_bytes, last_event, data FROM log WHERE ${condition} LIMIT 1`;
    const row = this.#storage.sql.exec<ChunkRow>(query, key).toArray()[0];
    if (!row || row.key < this.#key(0) || row.key >= this.#key(SLOT_SPAN)) return undefined;
    return {
      offset: row.key - this.#key(0),
      originBytes: row.origin_bytes,
      lastEvent: row.last_event ?? undefined,
      data: row.data,
      length: row.data.byteLength,
    };
  }

  #key(offset: number): number {
    return this.#slot * SLOT_SPAN + offset;
  }
}

type ChunkRow = { key: number; origin_bytes: number; last_event: number | null; data: ArrayBuffer };

interface Row {
  readonly offset: number;
  /** `originBytes` and `lastEvent` of the log when the row was written: the newest row's are the log's. */
  readonly originBytes: number;
  readonly lastEvent: number | undefined;
  readonly data: ArrayBuffer;
  readonly length: number;
}
