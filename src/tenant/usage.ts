/** What a tenant used: one row per day × model × key, kept 90 days. Nothing of a single request is kept. */
import type { Sql, SqlColumn } from "../storage/sql.ts";
import { DAY_MS } from "./key-registry.ts";
import type { SessionUsage, UsageRow } from "./messages.ts";
import { storedCounts } from "./stored-json.ts";

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
    const row = rowOf(this.#sql.all<StoredRow>(query, day, model, usage.key)[0]);
    const { input = 0, cached = 0, output = 0 } = usage.tokens ?? {};
    const ends = { ...row?.ends, [usage.end]: (row?.ends[usage.end] ?? 0) + 1 };
    this.#sql.run(
      `INSERT OR REPLACE INTO usage (day, model, key, requests, unknown, input, cached, output, duration_ms, first_byte_ms,
         ends) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
      JSON.stringify(ends),
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
  const { duration_ms: durationMs, first_byte_ms: firstByteMs, ends, ...counts } = stored;
  return { ...counts, durationMs, firstByteMs, ends: storedCounts(ends) };
}
