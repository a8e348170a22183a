import { describe, expect, it } from "vitest";
import { CacheBudget } from "../../../src/conversation/log/cache-budget.ts";
import { OffsetLostError, ReplayLog } from "../../../src/conversation/log/replay-log.ts";
import { Records } from "../../../src/conversation/records.ts";
import { concat, expectBytes, noiseBytes } from "../support/bytes.ts";
import { NodeStorage } from "../support/node-storage.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const FRAME = bytes(":\n\n");

function newStorage(): NodeStorage {
  const storage = new NodeStorage();
  new Records(storage.sql).create();
  return storage;
}

function rowLengths({ sql }: NodeStorage): number[] {
  return sql.all<{ n: number }>("SELECT length(data) AS n FROM log WHERE key >= 0 ORDER BY key").map(({ n }) => n);
}

describe("the log", () => {
  it("flushes by itself when a row is full, and in as few rows as possible", () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 1_000_000);
    log.append(noiseBytes(65_535));
    expect([log.hasUnflushed, rowLengths(storage)]).toEqual([true, []]);
    log.append(noiseBytes(1));
    expect([log.hasUnflushed, rowLengths(storage)]).toEqual([false, [65_536]]);
    log.append(noiseBytes(150_000));
    expect(rowLengths(storage)).toEqual([65_536, 65_536, 65_536, 18_928]);
    log.flush();
    expect(rowLengths(storage)).toHaveLength(4);
  });

  it("begins no transaction where nothing is new", () => {
    const storage = newStorage();
    let transactions = 0;
    const transaction = (work: () => void) => {
      transactions += 1;
      storage.transaction(work);
    };
    const log = ReplayLog.create({ sql: storage.sql, transaction, sync: () => storage.sync() }, 0, 1_000);
    log.flush();
    expect(transactions).toBe(0);
    log.append(noiseBytes(10));
    log.flush();
    log.flush();
    expect(transactions).toBe(1);
  });

  it("writes all of a flush or nothing, and loses nothing when it fails", () => {
    const storage = newStorage();
    let room = 1;
    const { sql } = storage;
    const run: typeof sql.run = (query, ...args) => {
      if (query.startsWith("INSERT") && room-- <= 0) throw new Error("the disk is full");
      sql.run(query, ...args);
    };
    const full = { sql: { ...sql, run }, transaction: storage.transaction.bind(storage), sync: () => storage.sync() };
    const log = ReplayLog.create(full, 0, 1_000_000);
    expect(() => log.append(noiseBytes(150_000))).toThrow("full");
    expect(rowLengths(storage)).toEqual([]);
    expect(log.hasUnflushed).toBe(true);
    expectBytes(log.peek(0, 1e6), noiseBytes(150_000));
    room = 10;
    log.flush();
    expectBytes(ReplayLog.restore(storage, 0, 1_000_000).peek(0, 1e6), noiseBytes(150_000));
  });

  it("starts empty in a slot that an earlier session used, and leaves the other slot alone", () => {
    const storage = newStorage();
    for (const slot of [0, 1] as const) {
      const log = ReplayLog.create(storage, slot, 1_000);
      log.append(noiseBytes(10));
      log.flush();
    }
    ReplayLog.create(storage, 0, 1_000);
    expect(ReplayLog.restore(storage, 0, 1_000).end).toBe(0);
    expect(ReplayLog.restore(storage, 1, 1_000).end).toBe(10);
  });

  it("shows no frame, and nothing behind it, before it is synced", async () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 1_000);
    log.append(noiseBytes(5));
    const shown = log.appendFrame(FRAME);
    log.append(noiseBytes(5, 5));
    expect([log.end, log.visibleEnd, log.hasBarrier]).toEqual([13, 5, true]);
    expect(log.read(0)).toEqual([noiseBytes(5)]);
    expect(log.read(5)).toEqual([]);
    storage.confirm();
    await shown;
    expect([log.visibleEnd, log.hasBarrier]).toEqual([13, false]);
    expect(concat(log.read(0))).toEqual(concat([noiseBytes(5), FRAME, noiseBytes(5, 5)]));
  });

  it("asks for the sync of a frame when the frame is written", () => {
    const storage = newStorage();
    const writtenAtSync: number[][] = [];
    const sync = () => {
      writtenAtSync.push(rowLengths(storage));
      return storage.sync();
    };
    const log = ReplayLog.create({ sql: storage.sql, transaction: (work) => work(), sync }, 0, 1_000);
    void log.appendFrame(FRAME);
    expect(writtenAtSync).toEqual([[FRAME.length]]);
  });

  it("keeps a frame hidden that could not be synced, and says so", async () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 1_000);
    const shown = log.appendFrame(FRAME);
    storage.fail(new Error("the disk is full"));
    await expect(shown).rejects.toThrow("full");
    expect(log.read(0)).toEqual([]);
  });

  it("counts the origin's bytes and its last event apart from frames, also after a restart", () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 1_000);
    log.append(bytes("data: 1\n\ndata: 2\n\n"), 9);
    void log.appendFrame(FRAME);
    log.append(bytes(": hi\n\n"));
    log.flush();
    for (const each of [log, ReplayLog.restore(storage, 0, 1_000)]) {
      expect([each.end, each.originBytes, each.lastEvent]).toEqual([27, 24, 9]);
    }
  });

  it.each([
    ["", true],
    ["data: 1\n\n", true],
    ["data: 1\r\n\r\n", true],
    ["data: 1\n", false],
    ["data: 1\n\r\n", true],
    ["data: 1\r\n", false],
    ["data: 1\n\nd", false],
  ])("knows of %j whether a frame may follow: %s", (text, isEnd) => {
    const log = ReplayLog.create(newStorage(), 0, 1_000);
    log.append(bytes(text));
    expect(log.endsWithEvent()).toBe(isEnd);
  });

  it("knows it also where fewer bytes are kept than a blank line has", () => {
    const log = ReplayLog.create(newStorage(), 0, 1);
    log.append(noiseBytes(65_536));
    log.append(bytes("\n"));
    log.flush();
    expect([log.end - log.start, log.endsWithEvent()]).toEqual([1, false]);
  });

  it("refuses an offset that was dropped, with the one that is still there", () => {
    const log = ReplayLog.create(newStorage(), 0, 100_000);
    for (let i = 0; i < 4; i++) log.append(noiseBytes(65_536, i * 65_536));
    expect(log.start).toBe(131_072);
    expect(() => log.read(131_071)).toThrow(OffsetLostError);
    expect(() => log.read(131_071)).toThrow("Cannot replay from 131071: the kept bytes start at 131072");
    expectBytes(concat(log.read(131_072, 131_072)), noiseBytes(131_072, 131_072));
  });

  it("gives nothing, and no error, at its end and beyond", () => {
    const log = ReplayLog.create(newStorage(), 0, 1_000);
    log.append(noiseBytes(10));
    for (const offset of [10, 11, 1e9])
      expect([log.read(offset), log.peek(offset, 5)]).toEqual([[], new Uint8Array(0)]);
    expect(log.peek(4, 3)).toEqual(noiseBytes(3, 4));
    expect(log.peek(8, 100)).toEqual(noiseBytes(2, 8));
  });

  it("serves live readers and replays from memory, without SQLite", () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 10_000_000);
    for (let at = 0; at < 1_000_000; at += 10_000) log.append(noiseBytes(10_000, at));
    log.flush();
    const restored = ReplayLog.restore(storage, 0, 10_000_000);
    expectBytes(restored.peek(0, 1e6), noiseBytes(1_000_000));
    storage.sql.run("DELETE FROM log");
    expectBytes(log.peek(0, 1e6), noiseBytes(1_000_000));
    expect(() => restored.read(0)).toThrow("no row for offset 0");
  });
});

describe("a log that is detached", () => {
  it("gives its last bytes and its end's frame at once, and writes nothing any more", async () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 1_000);
    log.append(noiseBytes(10));
    void log.barrier();
    log.append(noiseBytes(5, 10));
    log.detach();
    await log.appendFrame(FRAME);
    log.flush();
    expect(concat(log.read(0))).toEqual(concat([noiseBytes(15), FRAME]));
    expect(rowLengths(storage)).toEqual([]);
  });

  it("cuts readers off whose bytes were only in the rows", () => {
    const storage = newStorage();
    const log = ReplayLog.create(storage, 0, 10_000_000, new CacheBudget(0));
    log.append(noiseBytes(500_000));
    log.delete();
    expect(rowLengths(storage)).toEqual([]);
    expect(() => log.read(0)).toThrow(OffsetLostError);
    expectBytes(log.peek(450_000, 1e6), noiseBytes(50_000, 450_000));
  });
});
