import { beforeEach, describe, expect, it } from "vitest";
import type { LookupRow } from "../../../src/protocol.ts";
import { Ledger } from "../../../src/tenant/ledger.ts";
import type { EndedSession, LiveSession, SessionUsage } from "../../../src/tenant/messages.ts";
import { liveList, originShares } from "../../../src/tenant/overview.ts";
import { NodeStorage } from "../support/node-storage.ts";

const DAY_MS = 86_400_000;
const START = 20_000 * DAY_MS + 1_000;

let storage: NodeStorage;
let now: number;
let ledger: Ledger;

/** A new object on the same storage. */
function restart(): void {
  storage.crash();
  ledger = new Ledger({ sql: storage.sql, now: () => now, tenant: "alice", defaultBytes: 2 ** 40 });
}

beforeEach(() => {
  storage = new NodeStorage();
  now = START;
  restart();
});

function usage(more: Partial<SessionUsage> = {}): SessionUsage {
  return { key: "phone", model: "qwen", end: "done", at: now, origin: "attic", reattached: 0, ...more };
}

let sessions = 0;

function end(more: Partial<SessionUsage> = {}): EndedSession {
  const session = `s${++sessions}`;
  const ended = { conversation: `c-${session}`, session, bytes: 0, holdsSlot: false, usage: usage(more) };
  ledger.ended(ended);
  storage.commit();
  return ended;
}

function begin(session: string, more: Partial<LiveSession> = {}): LiveSession {
  const live = { conversation: `c-${session}`, session, key: "phone", startedAt: now, bytes: 0, ...more };
  ledger.renewed(live);
  storage.commit();
  return live;
}

const shares = () => Object.fromEntries(originShares(ledger, Math.floor(now / DAY_MS)));
const none = { requests: 0, reattached: 0, ends: {} };

describe("what an origin had to do", () => {
  it("is nothing where nothing was counted, and leaves no tables", () => {
    expect(shares()).toEqual({});
    expect(storage.sql.all("SELECT name FROM sqlite_master")).toEqual([]);
  });

  it("is counted by ending, with the connections made anew, whatever the key and the model", () => {
    end();
    end({ model: "gemma", reattached: 2 });
    end({ key: "laptop", end: "origin_lost", reattached: 1 });
    end({ origin: "cellar", end: "refused" });
    const attic = { requests: 3, reattached: 3, ends: { done: 2, origin_lost: 1 } };
    const cellar = { requests: 1, reattached: 0, ends: { refused: 1 } };
    expect(shares()).toEqual({
      attic: { live: 0, today: attic, last_7_days: attic },
      cellar: { live: 0, today: cellar, last_7_days: cellar },
    });
    restart();
    expect(shares().attic?.today).toEqual(attic);
  });

  it("counts a session once, however often its end is told, and a strict answer as such", () => {
    const ended = end();
    ledger.ended(ended);
    ledger.counted({ key: "phone", end: "strict", at: now, origin: "attic" });
    expect(shares().attic?.today).toEqual({ requests: 2, reattached: 0, ends: { done: 1, strict: 1 } });
  });

  it("has no session that ended before an origin was chosen", () => {
    const { origin: _, ...unplaced } = usage({ end: "stopped" });
    ledger.counted(unplaced);
    expect(shares()).toEqual({});
  });

  it("is of today, and of seven days with today", () => {
    end();
    now += 6 * DAY_MS;
    end({ end: "stopped" });
    expect(shares().attic).toEqual({
      live: 0,
      today: { requests: 1, reattached: 0, ends: { stopped: 1 } },
      last_7_days: { requests: 2, reattached: 0, ends: { done: 1, stopped: 1 } },
    });
    now += DAY_MS;
    expect(shares().attic).toMatchObject({ today: none, last_7_days: { requests: 1 } });
  });

  it("takes no row but the one of the usage", () => {
    for (const origin of ["attic", "cellar", "shed"]) end({ origin });
    expect(storage.sql.all("SELECT count(*) AS count FROM usage")).toEqual([{ count: 1 }]);
    expect(storage.sql.all("SELECT name FROM sqlite_master WHERE name LIKE '%origin%'")).toEqual([]);
  });

  it("may be called as what JavaScript's objects have by themselves", () => {
    end({ origin: "constructor" });
    end({ origin: "constructor" });
    expect(shares().constructor).toMatchObject({ today: { requests: 2, ends: { done: 2 } } });
  });
});

describe("live sessions", () => {
  it("are counted at the origin of their last message", () => {
    const live = begin("s-a");
    begin("s-b", { origin: "cellar" });
    expect(shares()).toEqual({ cellar: { live: 1, today: none, last_7_days: none } });
    ledger.renewed({ ...live, origin: "attic" });
    expect(shares()).toMatchObject({ attic: { live: 1 }, cellar: { live: 1 } });
    ledger.renewed({ ...live, origin: "cellar" });
    expect(shares()).toEqual({ cellar: { live: 2, today: none, last_7_days: none } });
  });

  it("are listed without their conversations, the longest running first, and no more than asked for", () => {
    now = START - 60_000;
    begin("s-old", { model: "qwen", origin: "attic" });
    now = START;
    const young = begin("s-young");
    ledger.renewed({ ...young, bytes: 700, origin: "cellar", reattached: 2 });
    expect(liveList(ledger, 10)).toEqual({
      total: 2,
      sessions: [
        {
          ...{ session: "s-old", key: "phone", model: "qwen", origin: "attic" },
          ...{ started_at: (START - 60_000) / 1_000, bytes: 0, reattached: 0 },
        },
        {
          ...{ session: "s-young", key: "phone", model: null, origin: "cellar" },
          ...{ started_at: START / 1_000, bytes: 700, reattached: 2 },
        },
      ],
    });
    expect(liveList(ledger, 1)).toMatchObject({ total: 2, sessions: [{ session: "s-old" }] });
    expect(JSON.stringify(liveList(ledger, 10))).not.toContain("c-s-");
  });

  it("keep model and origin through a restart", () => {
    begin("s-a", { model: "qwen", origin: "attic" });
    restart();
    expect(liveList(ledger, 10).sessions).toMatchObject([{ model: "qwen", origin: "attic" }]);
    expect(shares().attic?.live).toBe(1);
  });

  it("that have ended do not come back with a late heartbeat", () => {
    const live = begin("s-a", { origin: "attic" });
    const row: LookupRow = {
      ...{ conversation_id: "c-s-a", is_done: true, total_bytes: 1, started_at: 1, completed_at: 2, session: "s-a" },
      ...{ end: "done" as const, dropped_bytes: 0, reattached: 0, origin: "attic" },
    };
    const { conversation, session } = live;
    const expiresAt = now + 60_000;
    ledger.ended({ conversation, session, row, expiresAt, bytes: 0, holdsSlot: false, usage: usage() });
    ledger.renewed(live);
    expect(liveList(ledger, 10)).toEqual({ sessions: [], total: 0 });
  });
});
