/**
 * The log beside an array. Everything that the log promises is checked after every step: I4, I5, what readers may see,
 * what survives a crash, what is dropped.
 */
import { expect } from "vitest";
import { CacheBudget } from "../../../src/conversation/log/cache-budget.ts";
import { OffsetLostError, ReplayLog } from "../../../src/conversation/log/replay-log.ts";
import type { Slot } from "../../../src/conversation/log/row-keys.ts";
import { Records } from "../../../src/conversation/records.ts";
import { concat, expectBytes, noiseBytes } from "../support/bytes.ts";
import { NodeStorage } from "../support/node-storage.ts";

export type Step =
  | { do: "append"; length: number; eventAt: number | undefined; endsEvent: boolean }
  /** Appends up to where a row is full, or where a row is to be dropped, or a byte less or more. Random lengths miss it. */
  | { do: "fill"; up: "a row" | "the kept bytes"; and: -1 | 0 | 1 }
  | { do: "frame" }
  | { do: "barrier" }
  | { do: "flush" }
  | { do: "commit" }
  | { do: "confirm"; syncs: number }
  | { do: "crash" }
  /** `at`: a fraction of what there is. */
  | { do: "read"; at: number };

const ROW_BYTES = 65_536;
const RETAINED_BYTES = 100_000;
/** Less than the log would like to keep, so that it reads from memory and from rows. */
const CACHE_BYTES = 80_000;
const NEIGHBOUR = noiseBytes(100, 77);

/** What a restart finds again. */
interface Snapshot {
  end: number;
  originBytes: number;
  lastEvent: number | undefined;
  /** Where each row starts that is kept. */
  rows: readonly number[];
}

export class ModelledLog {
  readonly #storage = new NodeStorage();
  readonly #cache = new CacheBudget(CACHE_BYTES);
  readonly #slot: Slot;
  readonly #neighbour: ReplayLog;
  #log: ReplayLog;
  #bytes = new Uint8Array(1 << 20);
  #now: Snapshot = { end: 0, originBytes: 0, lastEvent: undefined, rows: [] };
  #flushed: Snapshot = this.#now;
  #committed: Snapshot = this.#now;
  /** With which the rows were compared last: there are hundreds, and most steps leave them alone. */
  #checked: Snapshot | undefined;
  /** Where each unconfirmed frame or barrier stands, and what the log promised to resolve. */
  #unconfirmed: { at: number; lifted: Promise<void> }[] = [];
  /** Readers have seen the bytes below. */
  #seen = 0;
  #visibleEnd = 0;
  #frames = 0;
  readonly #views: { offset: number; view: Uint8Array }[] = [];

  constructor(slot: Slot) {
    this.#slot = slot;
    new Records(this.#storage.sql).create();
    const other = slot === 0 ? 1 : 0;
    this.#neighbour = ReplayLog.create(this.#storage, other, RETAINED_BYTES, this.#cache);
    this.#neighbour.append(NEIGHBOUR);
    this.#neighbour.flush();
    this.#log = ReplayLog.create(this.#storage, slot, RETAINED_BYTES, this.#cache);
    this.#storage.commit();
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case "append":
        this.#append(step.length, step.eventAt, step.endsEvent);
        break;
      case "fill":
        this.#fill(step.up, step.and);
        break;
      case "frame":
        this.#frame();
        break;
      case "barrier":
        this.#unconfirmed.push({ at: this.#now.end, lifted: this.#log.barrier() });
        break;
      case "flush":
        this.#flush();
        break;
      case "commit":
        this.#storage.commit();
        this.#committed = this.#flushed;
        break;
      case "confirm":
        await this.#confirm(step.syncs);
        break;
      case "crash":
        this.#crash();
        break;
      case "read":
        this.#readAt(Math.floor(step.at * this.#now.end));
        break;
    }
    this.#check();
  }

  /** All that is kept, the other slot, and whatever readers still hold. */
  checkAll(): void {
    this.#checkRows();
    for (let at = this.#log.start; at < this.#log.visibleEnd; ) at += this.#readAt(at);
    for (const { offset, view } of this.#views) this.#expectWritten(offset, view);
    for (const log of [this.#neighbour, ReplayLog.restore(this.#storage, this.#slot === 0 ? 1 : 0, RETAINED_BYTES)]) {
      expect(log.end).toBe(NEIGHBOUR.length);
      expectBytes(concat(log.read(0)), NEIGHBOUR);
    }
  }

  get #start(): number {
    return this.#flushed.rows[0] ?? 0;
  }

  #fill(up: "a row" | "the kept bytes", and: number): void {
    const full = up === "a row" ? this.#flushed.end + ROW_BYTES : this.#start + ROW_BYTES + RETAINED_BYTES;
    const length = full + and - this.#now.end;
    if (length > 0) this.#append(length, undefined, false);
    if (up === "the kept bytes") this.#flush();
  }

  #flush(): void {
    this.#log.flush();
    this.#wasFlushed();
  }

  /** Rows are as large as they may be. Dropped are those that are not needed, when they are a row's worth or more. */
  #wasFlushed(): void {
    const { end } = this.#now;
    const rows = [...this.#flushed.rows];
    for (let at = this.#flushed.end; at < end; at += ROW_BYTES) rows.push(at);
    const surplus = end - RETAINED_BYTES;
    const kept = surplus - this.#start < ROW_BYTES ? 0 : rows.findLastIndex((start) => start <= surplus);
    this.#flushed = this.#now = { ...this.#now, rows: rows.slice(kept) };
  }

  #append(length: number, eventAt: number | undefined, endsEvent: boolean): void {
    const { end, originBytes } = this.#now;
    // An origin sends the same bytes again: what was seen before a crash is what comes after it.
    const bytes =
      end < this.#seen ? this.#bytes.slice(end, Math.min(this.#seen, end + length)) : noiseBytes(length, end);
    if (end >= this.#seen && endsEvent) bytes.set([10, 10].slice(-length), Math.max(0, length - 2));
    const eventStart = eventAt === undefined ? undefined : Math.floor(eventAt * bytes.length);
    this.#log.append(bytes, eventStart);
    this.#put(bytes);
    const lastEvent = eventStart === undefined ? this.#now.lastEvent : end + eventStart;
    this.#now = { ...this.#now, end: end + bytes.length, originBytes: originBytes + bytes.length, lastEvent };
    bytes.fill(0);
    if (this.#now.end - this.#flushed.end >= ROW_BYTES) this.#wasFlushed();
  }

  #frame(): void {
    // No ping before the log has caught up with what readers have seen: see Session.
    if (this.#now.end < this.#seen) return;
    const frame = new TextEncoder().encode(`: frame ${++this.#frames}\n\n`);
    this.#unconfirmed.push({ at: this.#now.end, lifted: this.#log.appendFrame(frame) });
    this.#put(frame);
    this.#now = { ...this.#now, end: this.#now.end + frame.length };
    this.#wasFlushed();
  }

  async #confirm(syncs: number): Promise<void> {
    this.#storage.confirm(syncs);
    this.#committed = this.#flushed;
    await Promise.all(this.#unconfirmed.splice(0, syncs).map(({ lifted }) => lifted));
  }

  #crash(): void {
    this.#storage.crash();
    this.#unconfirmed = [];
    this.#checked = undefined;
    this.#now = this.#flushed = this.#committed;
    this.#log = ReplayLog.restore(this.#storage, this.#slot, RETAINED_BYTES, this.#cache);
    this.#visibleEnd = this.#now.end;
    expect(this.#log.hasBarrier).toBe(false);
  }

  #put(bytes: Uint8Array): void {
    const end = this.#now.end + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 * end);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#now.end);
  }

  #check(): void {
    const log = this.#log;
    const { end, originBytes, lastEvent } = this.#now;
    expectSame("end", log.end, end);
    expectSame("originBytes", log.originBytes, originBytes);
    expectSame("lastEvent", log.lastEvent, lastEvent);
    expectSame("hasUnflushed", log.hasUnflushed, this.#flushed.end < end);
    expectSame("start", log.start, this.#start);
    if (this.#flushed !== this.#checked) this.#checkRows();
    this.#checkVisible();
    const from = Math.max(log.start, end - 9);
    expectBytes(log.peek(from, 9), this.#bytes.subarray(from, end));
    const [last, before] = [this.#bytes[end - 1], this.#bytes[end - 2]];
    const isWhole = end === log.start || (last === 10 && before === 10 && end - log.start > 1);
    expectSame("endsWithEvent", log.endsWithEvent(), isWhole);
  }

  /** I4: rows are contiguous from `start` to what is flushed. */
  #checkRows(): void {
    const base = this.#slot * 2 ** 50;
    const rows = this.#storage.sql.all<{ key: number; length: number }>(
      "SELECT key, length(data) AS length FROM log WHERE key >= ? AND key < ? ORDER BY key",
      base,
      base + 2 ** 50,
    );
    const { rows: starts, end } = this.#flushed;
    this.#checked = this.#flushed;
    expectSame("rows", rows.length, starts.length);
    for (const [i, { key, length }] of rows.entries()) {
      expectSame("the row's start", key - base, starts[i]);
      expectSame("the row's end", key - base + length, starts[i + 1] ?? end);
    }
  }

  #checkVisible(): void {
    const { visibleEnd } = this.#log;
    const mostVisible = Math.min(this.#now.end, ...this.#unconfirmed.map(({ at }) => at));
    expectWithin("visibleEnd", visibleEnd, this.#visibleEnd, mostVisible);
    expectSame("hasBarrier", this.#log.hasBarrier, this.#unconfirmed.length > 0);
    if (this.#unconfirmed.length === 0) expectSame("visibleEnd", visibleEnd, this.#now.end);
    this.#visibleEnd = visibleEnd;
    // A reader that follows: `#bytes` below `#seen` is never written with other bytes, see #append and #frame.
    while (this.#seen < visibleEnd) this.#seen += this.#readAt(this.#seen);
  }

  /** Returns how many bytes the log gave. */
  #readAt(offset: number): number {
    if (offset < this.#log.start) {
      if (this.#log.visibleEnd <= offset) return 0;
      expect(() => this.#log.read(offset)).toThrow(OffsetLostError);
      return this.#log.start - offset;
    }
    const pieces = this.#log.read(offset);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const { visibleEnd } = this.#log;
    if (offset >= visibleEnd) expectSame("pieces beyond the end", pieces.length, 0);
    else expectWithin("bytes read", length, 1, visibleEnd - offset);
    this.#expectWritten(offset, concat(pieces));
    const [view] = pieces;
    if (view && this.#views.length < 30 && offset + view.length <= this.#seen) this.#views.push({ offset, view });
    return length;
  }

  #expectWritten(offset: number, bytes: Uint8Array): void {
    expectBytes(bytes, this.#bytes.subarray(offset, offset + bytes.length));
  }
}

/** `expect` for each of a dozen values after each of ten thousand steps would be most of the time that the test takes. */
function expectSame<Value>(what: string, actual: Value, expected: Value): void {
  if (actual !== expected) expect(actual, what).toBe(expected);
}

function expectWithin(what: string, actual: number, least: number, most: number): void {
  if (!(actual >= least && actual <= most)) expect.fail(`${what} is ${actual}, and must be ${least} to ${most}`);
}
