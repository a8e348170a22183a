import { describe, expect, it } from "vitest";
import { ReplayLog } from "../../src/conversation/log/replay-log.ts";
import { Records } from "../../src/conversation/records.ts";
import { readFrom } from "../../src/conversation/session/reader.ts";
import { storageOf } from "../../src/storage/object-storage.ts";
import { liveSession, sessionOn, withStorage } from "./live-session.ts";

const record = JSON.stringify({ session: "s" });

function count({ sql }: DurableObjectStorage, condition: string): number {
  return Number(sql.exec(`SELECT count(*) AS n FROM log WHERE ${condition}`).one().n);
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

describe("the table of a conversation", () => {
  it("keeps a request of more than a row until its answer's first byte", async () => {
    await withStorage("large request", (storage) => {
      const records = new Records(storageOf(storage).sql);
      records.create();
      const request = randomBytes(2_500_000);
      records.add(1, record, request);
      records.save(1, "saved");
      expect(records.request(1)).toEqual(request);
      expect(records.request(0)).toBeUndefined();
      expect(records.sessions()).toEqual([{ slot: 1, version: 3, record: "saved" }]);
      records.saveWithoutRequest(1, record);
      expect(records.request(1)).toBeUndefined();
      expect(count(storage, "true")).toBe(1);
    });
  });

  it("keeps what is in the other slot", async () => {
    await withStorage("two slots", (storage) => {
      const records = new Records(storageOf(storage).sql);
      records.create();
      const requests = [randomBytes(1_000_001), randomBytes(1_000_001)] as const;
      records.add(0, record, requests[0]);
      records.add(1, record, requests[1]);
      const logs = ([0, 1] as const).map((slot) => ReplayLog.create(storageOf(storage), slot, 1_000_000));
      logs.forEach((log, i) => {
        log.append(new Uint8Array([i]));
        log.flush();
      });
      records.delete(0);
      logs[0]?.delete();
      expect(records.sessions()).toHaveLength(1);
      expect(records.request(1)).toEqual(requests[1]);
      expect(ReplayLog.restore(storageOf(storage), 0, 1_000_000).end).toBe(0);
      expect(ReplayLog.restore(storageOf(storage), 1, 1_000_000).read(0)).toEqual([new Uint8Array([1])]);
    });
  });

  it("forgets the request of a session whose slot is used again", async () => {
    await withStorage("used again", (storage) => {
      const records = new Records(storageOf(storage).sql);
      records.create();
      records.add(0, record, randomBytes(2_500_000));
      const request = randomBytes(10);
      records.add(0, record, request);
      expect(records.request(0)).toEqual(request);
    });
  });
});

/** All that a reader from the start would get. */
function wholeOf(log: ReplayLog): Uint8Array {
  const whole = new Uint8Array(log.end);
  for (let at = 0; at < log.end; ) {
    for (const piece of log.read(at)) {
      whole.set(piece, at);
      at += piece.length;
    }
  }
  return whole;
}

describe("the log", () => {
  const EVENT = randomBytes(245);

  it("writes a row a batch, whatever the blocks in memory, and replays them from every offset", async () => {
    await withStorage("rows", (storage) => {
      new Records(storageOf(storage).sql).create();
      const log = ReplayLog.create(storageOf(storage), 0, 1_000_000);
      const batches = 5;
      for (let batch = 0; batch < batches; batch++) {
        for (let i = 0; i < 250; i++) log.append(EVENT);
        log.flush();
      }
      expect(count(storage, "key >= 0")).toBe(batches);
      const restored = ReplayLog.restore(storageOf(storage), 0, 1_000_000);
      expect(restored.originBytes).toBe(log.end);
      for (const from of [0, 1, 61_249, 61_250, 61_251, 200_000, log.end - 1]) {
        let at = from;
        while (at < log.end) {
          for (const piece of restored.read(at)) {
            expect(piece.every((byte, i) => byte === EVENT[(at + i) % EVENT.length])).toBe(true);
            at += piece.length;
          }
        }
        expect(at).toBe(log.end);
      }
    });
  });

  it("replays from memory what it has there, and from its rows what another object was read for", async () => {
    await withStorage("memory", (storage) => {
      new Records(storageOf(storage).sql).create();
      const log = ReplayLog.create(storageOf(storage), 0, 10_000_000);
      const bytes = randomBytes(1_000_000);
      for (let at = 0; at < bytes.length; at += 10_000) log.append(bytes.subarray(at, at + 10_000));
      log.flush();
      const restored = ReplayLog.restore(storageOf(storage), 0, 10_000_000);
      expect(wholeOf(restored)).toEqual(bytes);
      storage.sql.exec("DELETE FROM log");
      expect(wholeOf(log)).toEqual(bytes);
      expect(() => wholeOf(restored)).toThrow("no row for offset 0");
    });
  });

  it("writes rows of 64 KiB at the most", async () => {
    await withStorage("large rows", (storage) => {
      new Records(storageOf(storage).sql).create();
      const log = ReplayLog.create(storageOf(storage), 1, 1_000_000);
      log.append(randomBytes(150_000));
      expect(log.hasUnflushed).toBe(false);
      expect(count(storage, "length(data) <= 65536")).toBe(3);
    });
  });
});

describe("a reader", () => {
  it("gets every byte once, however often it asks before there are any", async () => {
    await withStorage("asks twice", async (storage) => {
      const session = liveSession(storage);
      const reader = readFrom(session, 0).getReader();
      const asked = Array.from({ length: 8 }, () => reader.read());
      const bytes = randomBytes(300_000);
      for (let at = 0; at < bytes.length; at += 1_000) session.append(bytes.subarray(at, at + 1_000), true);
      session.finish("done");
      const got: number[] = [];
      for (const { value } of await Promise.all(asked)) got.push(...(value ?? []));
      expect(new Uint8Array(got)).toEqual(bytes.subarray(0, got.length));
      await reader.cancel();
    });
  });

  it("sees nothing of an answer before it is stored that the answer has begun", async () => {
    await withStorage("begun", async (storage) => {
      const synced = Promise.withResolvers<void>();
      const session = sessionOn(storage, () => synced.promise);
      const reader = readFrom(session, 0).getReader();
      const first = reader.read();
      session.append(new Uint8Array([1]), true);
      session.append(new Uint8Array([2]), true);
      expect(session.log.end).toBe(2);
      expect(session.log.read(0)).toEqual([]);
      synced.resolve();
      expect(await first).toEqual({ done: false, value: new Uint8Array([1, 2]) });
      await reader.cancel();
      session.finish("done");
    });
  });

  it("is cut off, not left waiting, when the end of an answer cannot be stored", async () => {
    await withStorage("end not stored", async (storage) => {
      const session = sessionOn(storage, () => Promise.reject(new Error("the disk is full")));
      const rest = readFrom(session, 0).getReader().read();
      session.finish("origin_lost", { code: 502, message: "lost", type: "origin_lost" });
      await expect(rest).rejects.toThrow("broke off");
    });
  });
});
