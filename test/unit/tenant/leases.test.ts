import { describe, expect, it } from "vitest";
import { countSlots, Leases, slotOf } from "../../../src/tenant/leases.ts";
import { HOLD_MS } from "../../../src/tenant/messages.ts";
import { createTables } from "../../../src/tenant/schema.ts";
import { NodeStorage } from "../support/node-storage.ts";

const NOW = 1_000_000;

function newLeases() {
  const { sql } = new NodeStorage();
  createTables(sql);
  /** As a new object finds them. */
  const restarted = (now = NOW) => new Leases(sql, true, now);
  return { leases: restarted(), restarted };
}

const slotsOf = (leases: Leases) => Array.from(leases.slots(), ({ slot, key }) => `${slot} of ${key}`);

describe("a lease", () => {
  it("holds for HOLD_MS after it was taken or renewed, and no longer", () => {
    const { leases } = newLeases();
    leases.take("a", "c1", "phone", NOW);
    leases.take("b", "c2", "phone", NOW);
    expect(leases.renew("b", NOW + 1)).toBe(true);
    leases.expire(NOW + HOLD_MS);
    expect(slotsOf(leases)).toEqual(["c1 of phone", "c2 of phone"]);
    leases.expire(NOW + HOLD_MS + 1);
    expect(slotsOf(leases)).toEqual(["c2 of phone"]);
    expect(leases.renew("a", NOW + HOLD_MS + 2)).toBe(false);
    leases.expire(NOW + HOLD_MS + 2);
    expect(leases.count).toBe(0);
  });

  it("survives a restart, and counts as just renewed; one that was given back does not", () => {
    const { leases, restarted } = newLeases();
    for (const holder of ["a", "b"]) leases.take(holder, holder, "phone", NOW);
    leases.release("a");
    const later = restarted(NOW + HOLD_MS);
    expect(slotsOf(later)).toEqual(["b of phone"]);
    later.expire(NOW + 2 * HOLD_MS);
    expect(later.count).toBe(1);
    later.expire(NOW + 2 * HOLD_MS + 1);
    expect(restarted().count).toBe(0);
  });

  it("that its holder takes again is one, with what was said last", () => {
    const { leases, restarted } = newLeases();
    leases.take("a", "c1", "phone", NOW);
    leases.take("a", "c2", "laptop", NOW);
    expect([slotsOf(leases), slotsOf(restarted())]).toEqual([["c2 of laptop"], ["c2 of laptop"]]);
    expect([leases.holds("c2"), leases.holds("c1")]).toEqual([true, false]);
  });
});

describe("slots", () => {
  const taken = [
    { slot: "c1", key: "phone" },
    { slot: "c1", key: "laptop" },
    { slot: "c2", key: "phone" },
    { slot: "c3", key: "laptop" },
    { slot: "c3", key: "laptop" },
  ];

  it("are counted once per conversation, of the tenant and of the key", () => {
    expect(countSlots(taken, "phone", undefined)).toEqual({ tenant: 3, key: 2 });
    expect(countSlots(taken, "laptop", undefined)).toEqual({ tenant: 3, key: 2 });
    expect(countSlots(taken, "other", undefined)).toEqual({ tenant: 3, key: 0 });
  });

  it("do not count the conversation's own, which a request on it uses", () => {
    expect(countSlots(taken, "phone", "c1")).toEqual({ tenant: 2, key: 1 });
  });

  it("of requests without a conversation are never one's of the same name", () => {
    expect(slotOf("t", "c1")).toBe("c1");
    expect(slotOf("c1", undefined)).not.toBe("c1");
    expect(slotOf("t", undefined)).not.toBe(slotOf("u", undefined));
  });
});
