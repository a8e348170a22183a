import { beforeEach, describe, expect, it } from "vitest";
import type { LookupRow } from "../../../src/protocol.ts";
import { OVERHEAD_BYTES, STALE_MS } from "../../../src/tenant/conversation-index.ts";
import { Ledger } from "../../../src/tenant/ledger.ts";
import { type EndedSession, HOLD_MS, type LiveSession, type SessionUsage } from "../../../src/tenant/messages.ts";
import { addKey, entryOf, removeKey, setLimits } from "../../../src/tenant/orders.ts";
import { WINDOW_MS } from "../../../src/tenant/sliding-window.ts";
import { NodeStorage } from "../support/node-storage.ts";

const START = 1_795_000_000_000;
const TTL_MS = 3_600_000;
const DEFAULT_BYTES = 1_000_000;

let storage: NodeStorage;
let now: number;
let ledger: Ledger;

/** A new object on the same storage. */
function restart(): void {
  storage.crash();
  ledger = new Ledger({ sql: storage.sql, now: () => now, tenant: "alice", defaultBytes: DEFAULT_BYTES });
}

beforeEach(() => {
  storage = new NodeStorage();
  now = START;
  restart();
});

function rowOf(conversation: string, session: string): LookupRow {
  return {
    conversation_id: conversation,
    is_done: true,
    total_bytes: 10,
    started_at: 1,
    completed_at: 2,
    session,
    end: "done",
    dropped_bytes: 0,
    reattached: 0,
    origin: "default",
  };
}

function usage(more: Partial<SessionUsage> = {}): SessionUsage {
  return { key: "API_KEYS", model: "tiny", end: "done", at: now, durationMs: 7, ...more };
}

function live(conversation: string, session: string, more: Partial<LiveSession> = {}): LiveSession {
  return { conversation, session, key: "API_KEYS", startedAt: now, bytes: 0, ...more };
}

function ended(conversation: string, session: string, more: Partial<EndedSession> = {}): EndedSession {
  const row = rowOf(conversation, session);
  return { conversation, session, row, expiresAt: now + TTL_MS, bytes: 10, holdsSlot: false, usage: usage(), ...more };
}

function stopped(conversation: string, session: string, more: Partial<EndedSession> = {}): EndedSession {
  const {
    row: _,
    expiresAt: __,
    ...rest
  } = ended(conversation, session, { bytes: 0, usage: usage({ end: "stopped" }) });
  return { ...rest, ...more };
}

let tickets = 0;
const admit = (conversation?: string, keyHash?: string) => {
  const answer = ledger.admit({
    ticket: `ticket-${++tickets}`,
    ...(conversation !== undefined && { conversation }),
    ...(keyHash !== undefined && { keyHash }),
  });
  storage.commit();
  return { ...answer, ticket: `ticket-${tickets}` };
};
const isRefused = (conversation?: string, keyHash?: string) => admit(conversation, keyHash).refusal !== undefined;

function tables(): unknown[] {
  return storage.sql.all("SELECT name FROM sqlite_master");
}

describe("a tenant nobody made", () => {
  it("is asked and leaves nothing", () => {
    expect(ledger.keyOf("hash").isKnown).toBe(false);
    expect(admit("c", "hash").refusal).toMatchObject({ status: 401, message: "Invalid API Key" });
    expect(ledger.knows("c")).toBe(false);
    expect(ledger.lookup(["c"])).toEqual({ rows: [], live: [] });
    expect(ledger.usage).toBeUndefined();
    expect(removeKey(ledger, "phone")).toEqual({ problem: "unknown" });
    expect(setLimits(ledger, { rpm: 1 }, "phone")).toEqual({ problem: "unknown" });
    ledger.struck({ conversation: "c", session: "s" });
    ledger.release("ticket");
    ledger.sweep();
    expect(entryOf(ledger)).toEqual({ tenant: "alice", limits: {}, keys: [], live: 0, kept_bytes: 0 });
    expect(ledger.isEmpty).toBe(true);
    expect(tables()).toEqual([]);
  });

  it("is admitted with a key of API_KEYS, and leaves nothing", () => {
    expect(admit("c")).toMatchObject({ key: "API_KEYS", isLimited: false, countsLive: false, bodyLimits: [] });
    expect(tables()).toEqual([]);
  });
});

describe("an issued key", () => {
  const phone = { hash: "hash", name: "phone", scopes: ["read", "generate"] as const, limits: {} };

  it("holds until it expires, is removed, and not again under its old hash", () => {
    expect(addKey(ledger, { ...phone, expiresAt: now + 100 })).toEqual({});
    expect(addKey(ledger, { ...phone, hash: "other" })).toEqual({ problem: "exists" });
    expect(isRefused("c", "hash")).toBe(false);
    now += 100;
    expect(admit("c", "hash").refusal?.status).toBe(401);
    expect(ledger.keyOf("hash").isKnown).toBe(false);
    expect(addKey(ledger, { ...phone, hash: "next" })).toEqual({});
    expect(isRefused("c", "next")).toBe(false);
    expect(removeKey(ledger, "phone")).toEqual({});
    expect(isRefused("c", "next")).toBe(true);
    expect(isRefused("c", "hash")).toBe(true);
  });

  it("survives a restart, with its limits, and shows the day of its last use", () => {
    addKey(ledger, { ...phone, limits: { rpm: 2 } });
    admit("c", "hash");
    restart();
    const day = Math.floor(now / 86_400_000) * 86_400;
    expect(entryOf(ledger).keys).toEqual([
      {
        name: "phone",
        created_at: START / 1_000,
        last_used_at: day,
        expires_at: null,
        scopes: ["read", "generate"],
        limits: { rpm: 2 },
      },
    ]);
    expect(admit("c", "hash").requests).toMatchObject({ limit: 2, remaining: 0 });
  });

  it("that may only read does not generate", () => {
    addKey(ledger, { ...phone, scopes: ["read"] });
    expect(admit("c", "hash").refusal).toEqual({ status: 403, message: 'Key "phone" may read, not generate' });
  });

  it("is listed for 90 days after it expired, then no more", () => {
    addKey(ledger, { ...phone, expiresAt: now });
    now += 89 * 86_400_000;
    ledger.sweep();
    expect(entryOf(ledger).keys).toHaveLength(1);
    now += 86_400_000;
    ledger.sweep();
    expect(ledger.isEmpty).toBe(true);
  });
});

describe("requests per minute", () => {
  it("are counted through a restart, and the refused ones are not", () => {
    setLimits(ledger, { rpm: 2 }, undefined);
    expect(admit("a").requests).toEqual({ limit: 2, remaining: 1, resetMs: WINDOW_MS });
    now += 1_000;
    admit("b");
    restart();
    expect(admit("c").refusal).toMatchObject({ status: 429, retryAfter: 59 });
    now = START + WINDOW_MS - 1;
    expect(isRefused("c")).toBe(true);
    now += 1;
    expect(isRefused("c")).toBe(false);
    expect(isRefused("d")).toBe(true);
  });

  it("of a key and of its tenant hold both", () => {
    addKey(ledger, { hash: "hash", name: "phone", scopes: ["generate"], limits: { rpm: 1 } });
    setLimits(ledger, { rpm: 2 }, undefined);
    expect(admit("a", "hash").requests).toMatchObject({ limit: 1, remaining: 0 });
    expect(admit("b", "hash").refusal?.message).toContain('Key "phone"');
    expect(isRefused("c")).toBe(false);
    expect(admit("d").refusal?.message).toContain('Tenant "alice"');
  });

  it("leave no row behind", () => {
    setLimits(ledger, { rpm: 2 }, undefined);
    admit("a");
    now += WINDOW_MS;
    ledger.sweep();
    expect(storage.sql.all("SELECT * FROM accepted")).toEqual([]);
  });
});

describe("live answers", () => {
  beforeEach(() => void setLimits(ledger, { live: 2 }, undefined));

  it("are counted from the request to the session's end", () => {
    const { ticket } = admit("a");
    expect(isRefused("b")).toBe(false);
    expect(isRefused("c")).toBe(true);
    ledger.renewed(live("a", "s1", { ticket }));
    expect(isRefused("c")).toBe(true);
    ledger.ended(ended("a", "s1"));
    expect(isRefused("c")).toBe(false);
    expect(isRefused("d")).toBe(true);
  });

  it("of one conversation are one, whoever holds the slot", () => {
    ledger.renewed(live("a", "s1"));
    ledger.renewed(live("b", "s2"));
    expect(isRefused("a")).toBe(false);
    expect(isRefused("c")).toBe(true);
    now += 1;
    ledger.renewed(live("a", "s3"));
    ledger.ended(stopped("a", "s1", { usage: usage({ end: "replaced" }) }));
    expect(isRefused("c")).toBe(true);
    expect(ledger.lookup(["a"]).live).toEqual(["a"]);
  });

  it("on the strict path are held by name until they are given back, or are silent", () => {
    const { ticket } = admit();
    admit();
    expect(isRefused()).toBe(true);
    ledger.release(ticket);
    const { ticket: third } = admit();
    expect(isRefused()).toBe(true);
    now += HOLD_MS;
    ledger.hold({ ticket: third, key: "API_KEYS" });
    now += 1;
    expect(isRefused()).toBe(false);
    expect(isRefused()).toBe(true);
  });

  it("are counted through a restart, and what does not come back is free in time", () => {
    admit();
    const { ticket } = admit();
    restart();
    expect(isRefused()).toBe(true);
    now += HOLD_MS;
    ledger.hold({ ticket, key: "API_KEYS" });
    now += 1;
    expect(isRefused()).toBe(false);
    expect(isRefused()).toBe(true);
  });

  it("whose slot was void by mistake count again with the next renewal", () => {
    const { ticket } = admit();
    now += HOLD_MS + 1;
    expect(isRefused()).toBe(false);
    ledger.hold({ ticket, key: "API_KEYS" });
    expect(isRefused()).toBe(true);
  });

  it("that were stopped keep the slot until the origin has acknowledged it", () => {
    ledger.renewed(live("a", "s1"));
    ledger.renewed(live("b", "s2"));
    ledger.ended(stopped("a", "s1", { holdsSlot: true }));
    expect(isRefused("c")).toBe(true);
    ledger.release("s1");
    expect(isRefused("c")).toBe(false);
  });

  it("are asked, not believed, when they were silent for two heartbeats", () => {
    ledger.renewed(live("a", "s1"));
    ledger.renewed(live("b", "s2"));
    now += STALE_MS + 1;
    ledger.renewed(live("a", "s1"));
    expect(ledger.stale()).toEqual([{ conversation: "b", session: "s2" }]);
    expect(ledger.needsTruth({ ticket: "t", conversation: "c" })).toBe(true);
    ledger.settle("b", "s2", { key: "API_KEYS", bytes: 0 });
    expect(isRefused("c")).toBe(false);
  });
});

describe("the index of conversations", () => {
  it("names what is live and shows what has ended, and nothing else", () => {
    ledger.renewed(live("a", "s1"));
    ledger.ended(ended("b", "s2"));
    expect(ledger.lookup(["a", "b", "c"])).toEqual({ live: ["a"], rows: [rowOf("b", "s2")] });
    expect(["a", "b", "c"].map((conversation) => ledger.knows(conversation))).toEqual([true, true, false]);
    now += TTL_MS;
    expect(ledger.lookup(["b"]).rows).toEqual([]);
    expect(ledger.knows("b")).toBe(false);
  });

  it("does not write again what was struck off, however late the message", () => {
    ledger.renewed(live("a", "s1"));
    const end = ended("a", "s1");
    ledger.ended(end);
    ledger.struck({ conversation: "a", session: "s1" });
    ledger.ended(end);
    ledger.renewed(live("a", "s1"));
    expect(ledger.lookup(["a"])).toEqual({ live: [], rows: [] });
  });

  it("keeps the row of the session before, where the new one was refused", () => {
    ledger.ended(ended("a", "s1"));
    ledger.renewed(live("a", "s2"));
    ledger.ended(ended("a", "s2", { row: rowOf("a", "s1"), usage: usage({ end: "refused" }) }));
    expect(ledger.lookup(["a"]).rows).toEqual([rowOf("a", "s1")]);
    ledger.struck({ conversation: "a", session: "s1" });
    expect(ledger.lookup(["a"]).rows).toEqual([]);
  });

  it("finds 300 of 10,000 ids in one turn", () => {
    const names = Array.from({ length: 10_000 }, (_, i) => `conversation-${i}-${"x".repeat(100)}`);
    for (const name of names.slice(0, 300)) ledger.ended(ended(name, `s-${name}`));
    const started = performance.now();
    expect(ledger.lookup(names).rows).toHaveLength(300);
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe("stored bytes", () => {
  it("are bounded by default, and free when they expire", () => {
    ledger.renewed(live("a", "s1"));
    ledger.ended(ended("a", "s1", { bytes: DEFAULT_BYTES }));
    expect(admit("b")).toMatchObject({ isLimited: false, refusal: { status: 429, retryAfter: TTL_MS / 1_000 } });
    now += TTL_MS;
    expect(isRefused("b")).toBe(false);
    expect(entryOf(ledger).kept_bytes).toBe(0);
  });

  it("count what a live session stores, by its last heartbeat", () => {
    ledger.renewed(live("a", "s1", { bytes: 5 }));
    ledger.renewed(live("a", "s1", { bytes: 1_000 }));
    expect(entryOf(ledger).kept_bytes).toBe(1_000 + OVERHEAD_BYTES);
    setLimits(ledger, { bytes: 1_000 }, undefined);
    expect(isRefused("b")).toBe(true);
  });

  it("of a key are its own", () => {
    addKey(ledger, { hash: "hash", name: "phone", scopes: ["generate"], limits: { bytes: 100 } });
    ledger.ended(ended("a", "s1"));
    expect(isRefused("b", "hash")).toBe(false);
    ledger.ended(ended("b", "s2", { usage: usage({ key: "phone" }) }));
    expect(admit("c", "hash").refusal?.message).toContain('Key "phone" stores');
  });
});

describe("usage", () => {
  it("is counted once per session, however often its end is told", () => {
    const tokens = { input: 5, cached: 3, output: 2 };
    const end = ended("a", "s1", { usage: usage({ tokens, firstByteMs: 4 }) });
    ledger.renewed(live("a", "s1"));
    ledger.ended(end);
    ledger.ended(end);
    storage.commit();
    restart();
    ledger.ended(end);
    ledger.ended(stopped("b", "s2"));
    ledger.ended(stopped("b", "s2"));
    const day = Math.floor(now / 86_400_000);
    expect(ledger.usage?.read(day, day + 1)).toEqual([
      {
        day,
        model: "tiny",
        key: "API_KEYS",
        requests: 2,
        unknown: 1,
        input: 5,
        cached: 3,
        output: 2,
        durationMs: 14,
        firstByteMs: 4,
        ends: { done: 1, stopped: 1 },
      },
    ]);
  });

  it("names at most 50 models per day and key, however many are asked for", () => {
    for (let i = 0; i < 200; i++) ledger.counted(usage({ model: `model-${i}` }));
    ledger.counted(usage({ model: "model-0" }));
    const day = Math.floor(now / 86_400_000);
    const rows = ledger.usage?.read(day, day + 1) ?? [];
    expect(rows).toHaveLength(51);
    expect(rows.find(({ model }) => model === "(other)")?.requests).toBe(150);
    expect(rows.find(({ model }) => model === "model-0")?.requests).toBe(2);
  });

  it("is kept for 90 days", () => {
    ledger.counted(usage());
    now += 89 * 86_400_000;
    ledger.sweep();
    expect(ledger.isEmpty).toBe(false);
    now += 86_400_000;
    ledger.sweep();
    expect(ledger.isEmpty).toBe(true);
  });
});
