/** The flushed bytes of one log, in rows of the conversation's table: the only SQL on keys from 0 up. See row-keys.ts. */
import type { Sql } from "../../storage/sql.ts";
import { logKey, logKeys, offsetOf, type Slot } from "./row-keys.ts";

/** Rows of slow answers are small, those of pings tiny: at most this many are looked at in one turn. */
const READ_ROWS = 256;

/** State of the log when the row was written: the newest row's is the log's. */
export interface RowMeta {
  readonly originBytes: number;
  readonly lastEvent: number | undefined;
}

export interface LogRow extends RowMeta {
  readonly offset: number;
  /** Bytes in the row. */
  readonly length: number;
}

type Columns = { key: number; origin_bytes: number; last_event: number | null; length: number };

export class LogRows {
  readonly #sql: Sql;
  readonly #slot: Slot;

  constructor(sql: Sql, slot: Slot) {
    this.#sql = sql;
    this.#slot = slot;
  }

  insert(offset: number, data: Uint8Array, meta: RowMeta): void {
    this.#sql.run(
      "INSERT INTO log (key, origin_bytes, last_event, data) VALUES (?, ?, ?, ?)",
      logKey(this.#slot, offset),
      meta.originBytes,
      meta.lastEvent ?? null,
      data,
    );
  }

  first(): LogRow | undefined {
    return this.#row("key >= ? ORDER BY key", 0);
  }

  last(): LogRow | undefined {
    const [, end] = logKeys(this.#slot);
    return this.#row("key < ? ORDER BY key DESC", offsetOf(this.#slot, end));
  }

  /** Bytes from `from`, which is in a row, to `limit`, about `bytes` of them, one piece per row. */
  read(from: number, limit: number, bytes: number): Uint8Array[] {
    const rows = this.#sql.all<{ key: number; data: ArrayBuffer }>(
      "SELECT key, data FROM log WHERE key >= (SELECT max(key) FROM log WHERE key <= ?) AND key < ? ORDER BY key LIMIT ?",
      logKey(this.#slot, from),
      logKey(this.#slot, Math.min(from + bytes, limit)),
      READ_ROWS,
    );
    const pieces = rows.map(({ key, data }) => {
      const start = offsetOf(this.#slot, key);
      return new Uint8Array(data).subarray(Math.max(0, from - start), limit - start);
    });
    // Readers ask until they have got something: nothing for an offset that is there would keep them asking for ever.
    if (!pieces[0]?.length) throw new Error(`I4: the log has no row for offset ${from}, below ${limit}`);
    return pieces;
  }

  /** Deletes the rows before the one that holds `offset`, and returns where that one starts. */
  dropBefore(offset: number): number {
    const kept = this.#row("key <= ? ORDER BY key DESC", offset);
    if (!kept) throw new Error(`I4: the log has no row for offset ${offset}`);
    this.#delete(logKey(this.#slot, 0), logKey(this.#slot, kept.offset));
    return kept.offset;
  }

  deleteAll(): void {
    this.#delete(...logKeys(this.#slot));
  }

  #delete(from: number, to: number): void {
    this.#sql.run("DELETE FROM log WHERE key >= ? AND key < ?", from, to);
  }

  #row(condition: string, offset: number): LogRow | undefined {
    const query = `SELECT key, origin_bytes, last_event, length(data) AS length FROM log WHERE ${condition} LIMIT 1`;
    const row = this.#sql.all<Columns>(query, logKey(this.#slot, offset))[0];
    const [first, end] = logKeys(this.#slot);
    if (!row || row.key < first || row.key >= end) return undefined;
    return {
      offset: offsetOf(this.#slot, row.key),
      originBytes: row.origin_bytes,
      lastEvent: row.last_event ?? undefined,
      length: row.length,
    };
  }
}
