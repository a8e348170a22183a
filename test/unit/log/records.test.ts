import { describe, expect, it } from "vitest";
import { LogRows } from "../../../src/conversation/log/log-rows.ts";
import { ReplayLog } from "../../../src/conversation/log/replay-log.ts";
import { Records, StorageVersionError } from "../../../src/conversation/records.ts";
import { expectBytes, noiseBytes } from "../support/bytes.ts";
import { NodeStorage } from "../support/node-storage.ts";

function recordsOn(storage: NodeStorage): Records {
  const records = new Records(storage.sql);
  records.create();
  return records;
}

function rowCount({ sql }: NodeStorage): number | undefined {
  return sql.all<{ n: number }>("SELECT count(*) AS n FROM log")[0]?.n;
}

describe("records", () => {
  it("exist once they were created, which does no harm twice", () => {
    const storage = new NodeStorage();
    expect(new Records(storage.sql).exists).toBe(false);
    recordsOn(storage).add(0, "a", noiseBytes(1));
    expect(recordsOn(storage).exists).toBe(true);
    expect(recordsOn(storage).sessions()).toMatchObject([{ slot: 0, record: "a" }]);
  });

  it("are saved in place, the request beside them", () => {
    const records = recordsOn(new NodeStorage());
    records.add(0, "a", noiseBytes(3));
    records.add(1, "b", noiseBytes(4));
    records.save(1, "c");
    expect(records.sessions()).toMatchObject([
      { slot: 0, record: "a" },
      { slot: 1, record: "c" },
    ]);
    expect(records.request(0)).toEqual(noiseBytes(3));
    expect(records.request(1)).toEqual(noiseBytes(4));
  });

  it.each([0, 1, 999_999, 1_000_000, 1_000_001, 2_500_000])(
    "keep a request of %d bytes until they are told to forget it",
    (length) => {
      const storage = new NodeStorage();
      const records = recordsOn(storage);
      records.add(0, "other", noiseBytes(1_500_000));
      records.add(1, "a", noiseBytes(length));
      expectBytes(records.request(1), noiseBytes(length));
      records.saveWithoutRequest(1, "b");
      expect(records.request(1)).toBeUndefined();
      expect(records.request(0)).toHaveLength(1_500_000);
      expect(records.sessions()).toMatchObject([{ record: "other" }, { record: "b" }]);
      expect(rowCount(storage)).toBe(3);
    },
  );

  it("forget the whole request of a session whose slot is used again", () => {
    const records = recordsOn(new NodeStorage());
    records.add(0, "a", noiseBytes(2_500_000));
    records.add(0, "b", noiseBytes(10, 7));
    expect(records.request(0)).toEqual(noiseBytes(10, 7));
  });

  it("are deleted without the log's rows, which are the log's to delete", () => {
    const storage = new NodeStorage();
    const records = recordsOn(storage);
    const log = ReplayLog.create(storage, 0, 1_000);
    records.add(0, "a", noiseBytes(1_500_000));
    log.append(noiseBytes(10));
    log.flush();
    records.delete(0);
    expect(records.sessions()).toEqual([]);
    expect(rowCount(storage)).toBe(1);
    log.delete();
    expect(rowCount(storage)).toBe(0);
  });

  it("cost one row per session, its version included", () => {
    const storage = new NodeStorage();
    recordsOn(storage).add(0, "a", noiseBytes(10));
    expect(rowCount(storage)).toBe(1);
  });
});

describe("the version of stored sessions", () => {
  /** The statements of the gateway that wrote no version yet. */
  function storageOfTheFirstVersion(): NodeStorage {
    const storage = new NodeStorage();
    storage.sql.run(
      "CREATE TABLE IF NOT EXISTS log (key INTEGER PRIMARY KEY, record TEXT, origin_bytes INTEGER, last_event INTEGER, data BLOB)",
    );
    storage.sql.run("INSERT INTO log (key, record, data) VALUES (?, ?, ?)", -2, '{"session":"s"}', noiseBytes(5));
    const insert = "INSERT INTO log (key, origin_bytes, last_event, data) VALUES (?, ?, ?, ?)";
    storage.sql.run(insert, 2 ** 50, 10, 4, noiseBytes(10));
    storage.sql.run(insert, 2 ** 50 + 10, 13, null, noiseBytes(3, 10));
    return storage;
  }

  it("is 1 where none was written, and such storage is read and goes on", () => {
    const storage = storageOfTheFirstVersion();
    const records = recordsOn(storage);
    expect(records.sessions()).toEqual([{ slot: 1, version: 1, record: '{"session":"s"}' }]);
    expect(records.request(1)).toEqual(noiseBytes(5));
    const log = ReplayLog.restore(storage, 1, 1_000);
    expect([log.start, log.end, log.originBytes, log.lastEvent]).toEqual([0, 13, 13, undefined]);
    log.append(noiseBytes(7, 13));
    log.flush();
    expect(ReplayLog.restore(storage, 1, 1_000).peek(0, 100)).toEqual(noiseBytes(20));
  });

  it("is written with every record", () => {
    const storage = storageOfTheFirstVersion();
    const version = () =>
      storage.sql.all<{ v: number | null }>("SELECT origin_bytes AS v FROM log WHERE key = -2")[0]?.v;
    const records = recordsOn(storage);
    expect(version()).toBeNull();
    records.save(1, "a");
    expect(version()).toBe(3);
    records.add(1, "b", noiseBytes(1));
    expect(version()).toBe(3);
    storage.sql.run("UPDATE log SET origin_bytes = NULL");
    records.saveWithoutRequest(1, "c");
    expect(version()).toBe(3);
  });

  it("that is newer is refused by name, and nothing of it is read or changed", () => {
    const storage = storageOfTheFirstVersion();
    const records = recordsOn(storage);
    records.add(0, "{}", noiseBytes(1));
    storage.sql.run("UPDATE log SET origin_bytes = 4, record = 'unknown' WHERE key = -2");
    const refusal = records.sessions();
    expect(refusal).toBeInstanceOf(StorageVersionError);
    expect(refusal).toMatchObject({
      message: "The conversation was stored in version 4; this gateway reads versions up to 3",
    });
    expect(new LogRows(storage.sql, 1).last()?.offset).toBe(10);
  });
});
