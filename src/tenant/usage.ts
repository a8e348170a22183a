/**
 * What a tenant used: one row per day × model × key, kept 90 days. Nothing of a single request is kept.
 *
 * In the same row stands which origin had how many of them, and how they ended: a row of its own would be one more written
 * per answer, a fifteenth of its price.
 */
import type { Sql, SqlColumn } from "../storage/sql.ts";
import { addCounts, addOriginCounts, NO_COUNTS, type OriginCounts } from "./counts.ts";
import { DAY_MS } from "./key-registry.ts";
import type { SessionUsage, UsageRow } from "./messages.ts";
import { storedCounts, storedOrigins } from "./stored-json.ts";

export const USAGE_DAYS = 90;
/** Models per day and key: a request may name any. What comes after them is counted under OTHER_MODEL. */
const MAX_MODELS = 50;
const MAX_MODEL_LENGTH = 128;
const OTHER_MODEL = "(other)";
const UNNAMED_MODEL = "(unnamed)";

interface StoredRow extends Record<string, SqlColumn> {
  day: number;
  model: string;
  key: string;
  requests: number;
  unknown: number;
  input: number;
  cached: number;
  output: number;
  duration_ms: number;
  first_byte_ms: number;
  ends: string;
  origins: string;
}

/** What an origin had to do with the sessions of a day. */
export interface OriginDay {
  readonly day: number;
  readonly origin: string;
  readonly counts: OriginCounts;
}

export class UsageRows {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  add(usage: SessionUsage): void {
    const day = Math.floor(usage.at / DAY_MS);
    const model = this.#modelName(day, usage);
    const query = "SELECT * FROM usage WHERE day = ? AND model = ? AND key = ?";
    const stored = this.#sql.all<StoredRow>(query, day, model, usage.key)[0];
    const row = rowOf(stored);
    const { input = 0, cached = 0, output = 0 } = usage.tokens ?? {};
    const ends = { [usage.end]: 1 };
    this.#sql.run(
      `INSERT OR REPLACE INTO usage (day, model, key, requests, unknown, input, cached, output, duration_ms, first_byte_ms,
         ends, origins) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      day,
      model,
      usage.key,
      (row?.requests ?? 0) + 1,
      (row?.unknown ?? 0) + (usage.tokens ? 0 : 1),
      (row?.input ?? 0) + input,
      (row?.cached ?? 0) + cached,
      (row?.output ?? 0) + output,
      (row?.durationMs ?? 0) + Math.round(usage.durationMs ?? 0),
      (row?.firstByteMs ?? 0) + Math.round(usage.firstByteMs ?? 0),
      JSON.stringify(addCounts([row?.ends ?? {}, ends])),
      JSON.stringify(Object.fromEntries(withSession(stored?.origins, usage))),
    );
  }

  /** Rows of the days from `first` to, not including, `end`. */
  read(first: number, end: number): UsageRow[] {
    const query = "SELECT * FROM usage WHERE day >= ? AND day < ? ORDER BY day, model, key";
    return this.#sql
      .all<StoredRow>(query, first, end)
      .map(rowOf)
      .filter((row) => row !== undefined);
  }

  /** What each origin had to do with them, of the same days. */
  readOrigins(first: number, end: number): OriginDay[] {
    const query = "SELECT day, origins FROM usage WHERE day >= ? AND day < ?";
    return this.#sql
      .all<{ day: number; origins: string }>(query, first, end)
      .flatMap(({ day, origins }) =>
        Array.from(storedOrigins(origins), ([origin, counts]) => ({ day, origin, counts })),
      );
  }

  /** Whether there is still any. */
  get isEmpty(): boolean {
    return this.#sql.all("SELECT 1 FROM usage LIMIT 1").length === 0;
  }

  expire(now: number): void {
    this.#sql.run("DELETE FROM usage WHERE day <= ?", Math.floor(now / DAY_MS) - USAGE_DAYS);
  }

  #modelName(day: number, { model: named, key }: SessionUsage): string {
    if (!named) return UNNAMED_MODEL;
    const model = named.slice(0, MAX_MODEL_LENGTH);
    const rows = this.#sql.all<{ model: string }>("SELECT model FROM usage WHERE day = ? AND key = ?", day, key);
    return rows.length < MAX_MODELS || rows.some((row) => row.model === model) ? model : OTHER_MODEL;
  }
}

function rowOf(stored: StoredRow | undefined): UsageRow | undefined {
  if (!stored) return undefined;
  const { duration_ms: durationMs, first_byte_ms: firstByteMs, ends, origins: _, ...counts } = stored;
  return { ...counts, durationMs, firstByteMs, ends: storedCounts(ends) };
}

/** By origin. A session that ended before it had one is not in it. */
function withSession(
  stored: string | undefined,
  { origin, end, reattached = 0 }: SessionUsage,
): ReadonlyMap<string, OriginCounts> {
  const origins = storedOrigins(stored ?? "{}");
  if (origin === undefined) return origins;
  const counts = { requests: 1, reattached, ends: { [end]: 1 } };
  return origins.set(origin, addOriginCounts(origins.get(origin) ?? NO_COUNTS, counts));
}
