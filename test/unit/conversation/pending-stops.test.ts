import { describe, expect, it, vi } from "vitest";
import { PendingStops, STOP_GRACE_MS } from "../../../src/conversation/producer/pending-stops.ts";
import type { StopResult } from "../../../src/origin/origin.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { ScriptedOrigin } from "../support/scripted-origin.ts";

const HOUR = 3_600_000;

function newStops(...results: (StopResult | Promise<StopResult>)[]) {
  const storage = new NodeStorage();
  const origin = new ScriptedOrigin();
  if (results.length > 0) origin.stops = results;
  return { storage, origin, stops: new PendingStops(storage.sql, "default") };
}

function requests(...originIds: string[]) {
  return originIds.map((originId) => ({ origin: "default", originId }));
}

/** What a restart of the object would find. */
function storedIn({ sql }: NodeStorage): string[] {
  const hasTable = sql.all("SELECT name FROM sqlite_master WHERE name = 'stop'").length > 0;
  if (!hasTable) return [];
  return sql.all<{ id: string }>("SELECT origin_id AS id FROM stop ORDER BY origin_id").map(({ id }) => id);
}

describe("stops that the origin has not acknowledged", () => {
  it("leave nothing in storage before the first", () => {
    const { storage, stops } = newStops();
    expect(stops.isEmpty).toBe(true);
    expect(storage.sql.all("SELECT name FROM sqlite_master")).toEqual([]);
  });

  it("are stored before they are tried, and gone when the origin has acknowledged them", async () => {
    const answer = Promise.withResolvers<StopResult>();
    const { storage, origin, stops } = newStops(answer.promise);
    stops.add(requests("a", "b"), HOUR, 0);
    expect([storedIn(storage), origin.asked]).toEqual([["a", "b"], []]);
    const retry = stops.retry(() => origin, 1);
    expect(origin.asked).toEqual(["stop a", "stop b"]);
    expect(storedIn(storage)).toEqual(["a", "b"]);
    answer.resolve("acknowledged");
    await retry;
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("are gone as well where the origin has no stops", async () => {
    const { storage, origin, stops } = newStops("unsupported");
    stops.add(requests("a"), HOUR, 0);
    await stops.retry(() => origin, 1);
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("survive a restart, and only those that are left", async () => {
    const { storage, origin, stops } = newStops("acknowledged", "unreachable");
    stops.add(requests("a", "b"), HOUR, 0);
    await stops.retry(() => origin, 1);
    storage.commit();
    storage.crash();
    const restarted = new PendingStops(storage.sql, "default");
    expect(restarted.isEmpty).toBe(false);
    origin.stops = ["acknowledged"];
    await restarted.retry(() => origin, 2);
    expect(origin.asked).toEqual(["stop a", "stop b", "stop b"]);
    expect([restarted.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("are tried until they expire", async () => {
    const { storage, origin, stops } = newStops("unreachable");
    stops.add(requests("a"), HOUR, 0);
    await stops.retry(() => origin, HOUR - 1);
    expect(storedIn(storage)).toEqual(["a"]);
    await stops.retry(() => origin, HOUR);
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
    await stops.retry(() => origin, HOUR + 1);
    expect(origin.count("stop")).toBe(2);
  });

  it("that may have overtaken their request are tried on for 30 s, whatever the origin says", async () => {
    const { origin, stops } = newStops("acknowledged");
    stops.add(requests("a"), HOUR, 1_000 + STOP_GRACE_MS);
    await stops.retry(() => origin, 1_000);
    await stops.retry(() => origin, 30_999);
    expect(stops.isEmpty).toBe(false);
    await stops.retry(() => origin, 31_000);
    expect(stops.isEmpty).toBe(true);
  });

  it("are believed at once when the request has been answered, or after a restart, which cut its connection", async () => {
    const { storage, origin, stops } = newStops("acknowledged");
    stops.add(requests("a", "b"), HOUR, STOP_GRACE_MS);
    stops.settle("a");
    stops.settle("unknown");
    await stops.retry(() => origin, 1);
    expect(storedIn(storage)).toEqual(["b"]);
    const restarted = new PendingStops(storage.sql, "default");
    await restarted.retry(() => origin, 2);
    expect(restarted.isEmpty).toBe(true);
  });

  it("are retried after 10 s, then twice as long each time, at most after 1 min; a new one begins anew", async () => {
    const { origin, stops } = newStops("unreachable");
    stops.add(requests("a"), HOUR, 0);
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      await stops.retry(() => origin, 1);
      waits.push(stops.retryMs / 1_000);
    }
    expect(waits).toEqual([10, 20, 40, 60, 60, 60, 60, 60, 60]);
    stops.add(requests("b"), HOUR, 0);
    await stops.retry(() => origin, 1);
    expect(stops.retryMs).toBe(10_000);
  });

  it("that a restart finds are retried after 10 s at the latest", () => {
    const { storage, stops } = newStops();
    stops.add(requests("a"), HOUR, 0);
    expect(new PendingStops(storage.sql, "default").retryMs).toBe(10_000);
  });

  it("that were added again while they were tried are not lost with the answer to the older try", async () => {
    const answer = Promise.withResolvers<StopResult>();
    const { storage, origin, stops } = newStops(answer.promise);
    stops.add(requests("a"), HOUR, 0);
    const retry = stops.retry(() => origin, 1);
    stops.add(requests("a"), 2 * HOUR, 1 + STOP_GRACE_MS);
    answer.resolve("acknowledged");
    await retry;
    expect(storedIn(storage)).toEqual(["a"]);
  });

  it("acknowledged by two tries at once are gone once", async () => {
    const { origin, stops } = newStops("acknowledged");
    stops.add(requests("a"), HOUR, 0);
    await Promise.all([stops.retry(() => origin, 1), stops.retry(() => origin, 1)]);
    expect(stops.isEmpty).toBe(true);
  });

  it("of a gateway that did not back off yet are read", async () => {
    const { storage, origin } = newStops("acknowledged");
    storage.sql.run("CREATE TABLE stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID");
    storage.sql.run("REPLACE INTO stop (origin_id, until) VALUES ('old', 5)");
    const stops = new PendingStops(storage.sql, "default");
    await stops.retry(() => origin, 1);
    expect([origin.asked, stops.isEmpty]).toEqual([["stop old"], true]);
  });

  it("of a gateway with one origin are sent to the first one, also by the next restart", async () => {
    const storage = new NodeStorage();
    storage.sql.run("CREATE TABLE stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID");
    storage.sql.run("REPLACE INTO stop (origin_id, until) VALUES ('old', 5)");
    new PendingStops(storage.sql, "attic").add([{ origin: "cellar", originId: "new" }], HOUR, 0);
    const asked: string[] = [];
    await new PendingStops(storage.sql, "attic").retry((name) => stopping(name, asked), 1);
    expect(asked.toSorted()).toEqual(["attic old", "cellar new"]);
  });

  it("go to the origin of their request, each", async () => {
    const { storage, stops } = newStops();
    const asked: string[] = [];
    stops.add(
      [
        { origin: "attic", originId: "a" },
        { origin: "cellar", originId: "b" },
      ],
      HOUR,
      0,
    );
    await new PendingStops(storage.sql, "attic").retry((name) => stopping(name, asked), 1);
    expect(asked.toSorted()).toEqual(["attic a", "cellar b"]);
  });

  it("to an origin that is not in the configuration any more are dropped, with a line in the log", async () => {
    const log = vi.spyOn(console, "log").mockReturnValue();
    const { storage, stops } = newStops();
    stops.add([{ origin: "attic", originId: "a" }], HOUR, STOP_GRACE_MS);
    await stops.retry(() => undefined, 1);
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
    expect(log.mock.calls).toEqual([[expect.stringContaining('"event":"stop_dropped","origin":"attic"')]]);
    log.mockRestore();
  });
});

function stopping(name: string, asked: string[]) {
  return {
    stop: async (originId: string) => {
      asked.push(`${name} ${originId}`);
      return "acknowledged" as const;
    },
  };
}
