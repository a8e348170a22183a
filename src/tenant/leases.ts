/**
 * Slots for live answers that no session holds (yet, or any more): a request on its way to its conversation, an answer on
 * the strict path, a stop that the origin has not acknowledged. What a session holds is in the conversation index.
 *
 *   take ──▶ held ──renew──▶ held ──▶ released, or void HOLD_MS after the last renewal
 *
 * A holder's name is nobody else's, so a message about one never frees another's slot. After a restart all of them count
 * as just renewed: those that live say so within HOLD_MS, the others go.
 */
import type { Sql } from "../storage/sql.ts";
import { HOLD_MS } from "./messages.ts";

interface Lease {
  /** A conversation, which has one slot whoever holds it, or the holder's own name. */
  readonly slot: string;
  readonly key: string;
  renewedAt: number;
}

export class Leases {
  readonly #sql: Sql;
  readonly #leases = new Map<string, Lease>();

  constructor(sql: Sql, hasTables: boolean, now: number) {
    this.#sql = sql;
    if (!hasTables) return;
    type Row = { holder: string; slot: string; key: string };
    for (const { holder, slot, key } of sql.all<Row>("SELECT holder, slot, key FROM hold")) {
      this.#leases.set(holder, { slot, key, renewedAt: now });
    }
  }

  take(holder: string, slot: string, key: string, now: number): void {
    this.#leases.set(holder, { slot, key, renewedAt: now });
    this.#sql.run("INSERT OR REPLACE INTO hold (holder, slot, key) VALUES (?, ?, ?)", holder, slot, key);
  }

  /** False when the lease is void or was never taken. */
  renew(holder: string, now: number): boolean {
    const lease = this.#leases.get(holder);
    if (lease) lease.renewedAt = now;
    return lease !== undefined;
  }

  release(holder: string): void {
    if (this.#leases.delete(holder)) this.#sql.run("DELETE FROM hold WHERE holder = ?", holder);
  }

  /** Frees what was not renewed in time. */
  expire(now: number): void {
    for (const [holder, { renewedAt }] of this.#leases) {
      if (now - renewedAt > HOLD_MS) this.release(holder);
    }
  }

  get count(): number {
    return this.#leases.size;
  }

  holds(slot: string): boolean {
    return Array.from(this.#leases.values()).some((lease) => lease.slot === slot);
  }

  slots(): IterableIterator<{ readonly slot: string; readonly key: string }> {
    return this.#leases.values();
  }
}

/** How many slots are taken, of the tenant and of this key, but for `own`: a request on a live conversation uses that one's. */
export function countSlots(
  taken: Iterable<{ readonly slot: string; readonly key: string }>,
  key: string,
  own: string | undefined,
): { tenant: number; key: number } {
  const slots = new Set<string>();
  const ofKey = new Set<string>();
  for (const { slot, key: holder } of taken) {
    if (slot === own) continue;
    slots.add(slot);
    if (holder === key) ofKey.add(slot);
  }
  return { tenant: slots.size, key: ofKey.size };
}

/** No conversation has a control character in its name. */
export function slotOf(ticket: string, conversation: string | undefined): string {
  return conversation ?? `\n${ticket}`;
}
