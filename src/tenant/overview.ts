/** What the owner sees of a tenant's sessions: those that are live, and what each origin had to do. Never a conversation's id. */
import { addOriginCounts, NO_COUNTS, type OriginCounts } from "./counts.ts";
import type { Ledger } from "./ledger.ts";

/** Days of the longer of the two sums, today included. */
const WEEK_DAYS = 7;

/** A live session, as of its last heartbeat. */
export interface LiveEntry {
  /** Its public name, as in the log. */
  readonly session: string;
  /** The name of the key that started it. */
  readonly key: string;
  readonly model: string | null;
  readonly origin: string | null;
  /** Unix seconds. */
  readonly started_at: number;
  /** What it stores. */
  readonly bytes: number;
  readonly reattached: number;
}

export interface LiveList {
  /** The longest running first. */
  readonly sessions: readonly LiveEntry[];
  /** With those that are not listed. */
  readonly total: number;
}

export interface OriginShare {
  /** Sessions that are live there. */
  readonly live: number;
  readonly today: OriginCounts;
  readonly last_7_days: OriginCounts;
}

export const NO_SHARE: OriginShare = { live: 0, today: NO_COUNTS, last_7_days: NO_COUNTS };

/** `most`: how many to list. */
export function liveList({ index }: Ledger, most: number): LiveList {
  const sessions = Array.from(index.liveSessions, ({ startedAt, model, origin, renewedAt: _, ...live }): LiveEntry => {
    return { ...live, model: model ?? null, origin: origin ?? null, started_at: Math.floor(startedAt / 1_000) };
  });
  return { sessions: sessions.toSorted(byAge).slice(0, most), total: sessions.length };
}

export function byAge(a: LiveEntry, b: LiveEntry): number {
  return a.started_at - b.started_at;
}

/** By the origin's name. `today`: days since 1970, UTC. */
export function originShares({ index, usage }: Ledger, today: number): Map<string, OriginShare> {
  const shares = new Map<string, OriginShare>();
  for (const { origin } of index.liveSessions) {
    if (origin !== undefined) addShare(shares, origin, { ...NO_SHARE, live: 1 });
  }
  for (const { day, origin, counts } of usage?.readOrigins(today - WEEK_DAYS + 1, today + 1) ?? []) {
    addShare(shares, origin, { live: 0, today: day === today ? counts : NO_COUNTS, last_7_days: counts });
  }
  return shares;
}

/** `shares` is changed. */
export function addShare(shares: Map<string, OriginShare>, origin: string, share: OriginShare): void {
  const known = shares.get(origin) ?? NO_SHARE;
  shares.set(origin, {
    live: known.live + share.live,
    today: addOriginCounts(known.today, share.today),
    last_7_days: addOriginCounts(known.last_7_days, share.last_7_days),
  });
}
