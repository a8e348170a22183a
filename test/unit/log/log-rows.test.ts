import { describe, expect, it } from "vitest";
import { LogRows } from "../../../src/conversation/log/log-rows.ts";
import type { Slot } from "../../../src/conversation/log/row-keys.ts";
import { Records } from "../../../src/conversation/records.ts";
import { concat, noiseBytes } from "../support/bytes.ts";
import { NodeStorage } from "../support/node-storage.ts";

const META = { originBytes: 0, lastEvent: undefined };

/** Rows of 10 bytes each, from offset 0 on, of the noise. */
function rowsOf(count: number, slot: Slot = 0, storage = new NodeStorage()): LogRows {
  new Records(storage.sql).create();
  const rows = new LogRows(storage.sql, slot);
  for (let at = 0; at < count * 10; at += 10) rows.insert(at, noiseBytes(10, at), META);
  return rows;
}

describe("rows of a log", () => {
  it("tell the first and the last, with the state of the log at that time", () => {
    const rows = rowsOf(1);
    rows.insert(10, noiseBytes(5), { originBytes: 13, lastEvent: 11 });
    expect(rows.first()).toEqual({ offset: 0, length: 10, originBytes: 0, lastEvent: undefined });
    expect(rows.last()).toEqual({ offset: 10, length: 5, originBytes: 13, lastEvent: 11 });
    rows.insert(15, noiseBytes(5), { originBytes: 18, lastEvent: 0 });
    expect(rows.last()?.lastEvent).toBe(0);
  });

  it.each([0, 1] as const)("in slot %d are not those of the other slot, nor a record", (slot) => {
    const storage = new NodeStorage();
    const other = slot === 0 ? 1 : 0;
    rowsOf(3, other, storage);
    new Records(storage.sql).add(slot, "{}", noiseBytes(1_500_000));
    const rows = new LogRows(storage.sql, slot);
    expect([rows.first(), rows.last()]).toEqual([undefined, undefined]);
    rows.deleteAll();
    expect(new LogRows(storage.sql, other).last()?.offset).toBe(20);
    expect(new Records(storage.sql).request(slot)).toHaveLength(1_500_000);
  });

  it("are read from the middle of one to the limit in the middle of another", () => {
    expect(rowsOf(5).read(14, 37, 100)).toEqual([noiseBytes(6, 14), noiseBytes(10, 20), noiseBytes(7, 30)]);
  });

  it("are read in pieces of about the size that was asked for, and of 256 rows at the most", () => {
    const rows = rowsOf(300);
    expect(concat(rows.read(5, 3_000, 100))).toEqual(noiseBytes(105, 5));
    expect(concat(rows.read(5, 3_000, 1e6))).toEqual(noiseBytes(2_555, 5));
  });

  it("are read without the row that starts where the read ends", () => {
    const rows = rowsOf(5);
    expect(rows.read(10, 50, 20)).toEqual([noiseBytes(10, 10), noiseBytes(10, 20)]);
    expect(rows.read(10, 30, 100)).toEqual([noiseBytes(10, 10), noiseBytes(10, 20)]);
  });

  it("that are missing fail the read, instead of giving nothing for ever (I4)", () => {
    const storage = new NodeStorage();
    const rows = rowsOf(3, 0, storage);
    expect(() => rows.read(30, 40, 100)).toThrow("no row for offset 30");
    expect(() => new LogRows(storage.sql, 1).read(0, 40, 100)).toThrow("no row for offset 0");
    rows.deleteAll();
    expect(() => rows.read(0, 30, 100)).toThrow("no row for offset 0");
    expect(() => rows.dropBefore(5)).toThrow("no row for offset 5");
  });

  it("go from the oldest on, up to the one that is still needed", () => {
    const rows = rowsOf(5);
    expect(rows.dropBefore(25)).toBe(20);
    expect(rows.first()?.offset).toBe(20);
    expect(rows.dropBefore(30)).toBe(30);
    expect(rows.first()?.offset).toBe(30);
    expect(concat(rows.read(30, 50, 100))).toEqual(noiseBytes(20, 30));
  });

  it("never replace one that is there", () => {
    expect(() => rowsOf(2).insert(10, noiseBytes(1), META)).toThrow("UNIQUE");
  });
});
