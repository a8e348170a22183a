import { describe, expect, it } from "vitest";
import { PendingStops, STOP_GRACE_MS } from "../../../src/conversation/producer/pending-stops.ts";
import type { StopResult } from "../../../src/origin/origin.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { ScriptedOrigin } from "../support/scripted-origin.ts";

const HOUR = 3_600_000;

function newStops(...results: (StopResult | Promise<StopResult>)[]) {
  const storage = new NodeStorage();
  const origin = new ScriptedOrigin();
  if (results.length > 0) origin.stops = results;
  return { storage, origin, stops: new PendingStops(storage.sql) };
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
    stops.add(["a", "b"], HOUR, 0);
    expect([storedIn(storage), origin.asked]).toEqual([["a", "b"], []]);
    const retry = stops.retry(origin, 1);
    expect(origin.asked).toEqual(["stop a", "stop b"]);
    expect(storedIn(storage)).toEqual(["a", "b"]);
    answer.resolve("acknowledged");
    await retry;
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("are gone as well where the origin has no stops", async () => {
    const { storage, origin, stops } = newStops("unsupported");
    stops.add(["a"], HOUR, 0);
    await stops.retry(origin, 1);
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("survive a restart, and only those that are left", async () => {
    const { storage, origin, stops } = newStops("acknowledged", "unreachable");
    stops.add(["a", "b"], HOUR, 0);
    await stops.retry(origin, 1);
    storage.commit();
    storage.crash();
    const restarted = new PendingStops(storage.sql);
    expect(restarted.isEmpty).toBe(false);
    origin.stops = ["acknowledged"];
    await restarted.retry(origin, 2);
    expect(origin.asked).toEqual(["stop a", "stop b", "stop b"]);
    expect([restarted.isEmpty, storedIn(storage)]).toEqual([true, []]);
  });

  it("are tried until they expire", async () => {
    const { storage, origin, stops } = newStops("unreachable");
    stops.add(["a"], HOUR, 0);
    await stops.retry(origin, HOUR - 1);
    expect(storedIn(storage)).toEqual(["a"]);
    await stops.retry(origin, HOUR);
    expect([stops.isEmpty, storedIn(storage)]).toEqual([true, []]);
    await stops.retry(origin, HOUR + 1);
    expect(origin.count("stop")).toBe(2);
  });

  it("that may have overtaken their request are tried on for 30 s, whatever the origin says", async () => {
    const { origin, stops } = newStops("acknowledged");
    stops.add(["a"], HOUR, 1_000 + STOP_GRACE_MS);
    await stops.retry(origin, 1_000);
    await stops.retry(origin, 30_999);
    expect(stops.isEmpty).toBe(false);
    await stops.retry(origin, 31_000);
    expect(stops.isEmpty).toBe(true);
  });

  it("are believed at once when the request has been answered, or after a restart, which cut its connection", async () => {
    const { storage, origin, stops } = newStops("acknowledged");
    stops.add(["a", "b"], HOUR, STOP_GRACE_MS);
    stops.settle("a");
    stops.settle("unknown");
    await stops.retry(origin, 1);
    expect(storedIn(storage)).toEqual(["b"]);
    const restarted = new PendingStops(storage.sql);
    await restarted.retry(origin, 2);
    expect(restarted.isEmpty).toBe(true);
  });

  it("are retried after 10 s, then twice as long each time, at most after 1 min; a new one begins anew", async () => {
    const { origin, stops } = newStops("unreachable");
    stops.add(["a"], HOUR, 0);
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      await stops.retry(origin, 1);
      waits.push(stops.retryMs / 1_000);
    }
    expect(waits).toEqual([10, 20, 40, 60, 60, 60, 60, 60, 60]);
    stops.add(["b"], HOUR, 0);
    await stops.retry(origin, 1);
    expect(stops.retryMs).toBe(10_000);
  });

  it("that a restart finds are retried after 10 s at the latest", () => {
    const { storage, stops } = newStops();
    stops.add(["a"], HOUR, 0);
    expect(new PendingStops(storage.sql).retryMs).toBe(10_000);
  });

  it("that were added again while they were tried are not lost with the answer to the older try", async () => {
    const answer = Promise.withResolvers<StopResult>();
    const { storage, origin, stops } = newStops(answer.promise);
    stops.add(["a"], HOUR, 0);
    const retry = stops.retry(origin, 1);
    stops.add(["a"], 2 * HOUR, 1 + STOP_GRACE_MS);
    answer.resolve("acknowledged");
    await retry;
    expect(storedIn(storage)).toEqual(["a"]);
  });

  it("acknowledged by two tries at once are gone once", async () => {
    const { origin, stops } = newStops("acknowledged");
    stops.add(["a"], HOUR, 0);
    await Promise.all([stops.retry(origin, 1), stops.retry(origin, 1)]);
    expect(stops.isEmpty).toBe(true);
  });

  it("of a gateway that did not back off yet are read", async () => {
    const { storage, origin } = newStops("acknowledged");
    storage.sql.run("CREATE TABLE stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID");
    storage.sql.run("REPLACE INTO stop (origin_id, until) VALUES ('old', 5)");
    const stops = new PendingStops(storage.sql);
    await stops.retry(origin, 1);
    expect([origin.asked, stops.isEmpty]).toEqual([["stop old"], true]);
  });
});
