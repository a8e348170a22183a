/** Numbers by name: how many sessions ended how, and of which origin. */

export type Counts = Readonly<Record<string, number>>;

/** What an origin had to do with sessions that have ended. */
export interface OriginCounts {
  readonly requests: number;
  /** Connections to it after a session's first. */
  readonly reattached: number;
  /** How many ended how. */
  readonly ends: Counts;
}

export const NO_COUNTS: OriginCounts = { requests: 0, reattached: 0, ends: {} };

export function addCounts(all: Iterable<Counts>): Counts {
  const sums = new Map<string, number>();
  for (const counts of all) {
    for (const [name, count] of Object.entries(counts)) sums.set(name, (sums.get(name) ?? 0) + count);
  }
  return Object.fromEntries(sums);
}

export function addOriginCounts(a: OriginCounts, b: OriginCounts): OriginCounts {
  return {
    requests: a.requests + b.requests,
    reattached: a.reattached + b.reattached,
    ends: addCounts([a.ends, b.ends]),
  };
}
