/**
 * The records of a conversation's sessions, and the requests that are not answered yet: the only SQL on keys below 0 of the
 * conversation's table, `log` (see log/keys.ts), which is made here. One table, because a table costs two rows written
 * before it holds anything: as much as ten seconds of an answer.
 *
 *   key                  record           data
 *   -1, -2               slot 0's, 1's    the first part of its request, until the first byte of the answer
 *   -SPAN, -2 SPAN …                      the further parts of slot 0's, 1's request, in order
 *
 * The request is kept so that a restart of the object before that byte loses nothing: the gateway asks the origin whether it
 * has the request, and if not, sends it again. A record is text: what it says is the session's business.
 */
import { partKey, partKeys, recordKey, type Slot } from "./log/keys.ts";
import type { Sql } from "./log/sql.ts";

/** A row holds 2 MB at most on Cloudflare. */
const PART_BYTES = 1_000_000;

export interface StoredSession {
  readonly slot: Slot;
  readonly record: string;
}

export class Records {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Whether there ever was a session. */
  get exists(): boolean {
    return this.#sql.all("SELECT name FROM sqlite_master WHERE name = 'log'").length > 0;
  }

  /** Makes the table where there is none. Never called for a lookup: asking about an unknown id leaves nothing. */
  create(): void {
    this.#sql.run(
      "CREATE TABLE IF NOT EXISTS log (key INTEGER PRIMARY KEY, record TEXT, origin_bytes INTEGER, last_event INTEGER, data BLOB)",
    );
  }

  /** A new session with its request, in place of what was in the slot. */
  add(slot: Slot, record: string, request: Uint8Array): void {
    this.delete(slot);
    const [first = request, ...rest] = partsOf(request);
    const query = "INSERT INTO log (key, record, data) VALUES (?, ?, ?)";
    this.#sql.run(query, recordKey(slot), record, first);
    for (const [i, part] of rest.entries()) this.#sql.run(query, partKey(slot, i), null, part);
  }

  save(slot: Slot, record: string): void {
    this.#sql.run("UPDATE log SET record = ? WHERE key = ?", record, recordKey(slot));
  }

  /** Saves the record, and forgets the request. */
  saveWithoutRequest(slot: Slot, record: string): void {
    const query = "UPDATE log SET record = ?, data = NULL WHERE key = ?";
    this.#sql.run(query, record, recordKey(slot));
    this.#deleteParts(slot);
  }

  sessions(): StoredSession[] {
    return ([0, 1] as const).flatMap((slot) => {
      const query = "SELECT record FROM log WHERE key = ?";
      return this.#sql.all<{ record: string }>(query, recordKey(slot)).map(({ record }) => ({ slot, record }));
    });
  }

  /** The request of a session, as long as it is kept. */
  request(slot: Slot): Uint8Array | undefined {
    type Row = { data: ArrayBuffer | null };
    const own = this.#sql.all<Row>("SELECT data FROM log WHERE key = ?", recordKey(slot));
    if (!own[0]?.data) return undefined;
    const query = "SELECT data FROM log WHERE key >= ? AND key < ? ORDER BY key";
    const further = this.#sql.all<Row>(query, ...partKeys(slot));
    const parts = [...own, ...further].map(({ data }) => new Uint8Array(data ?? new ArrayBuffer(0)));
    const request = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      request.set(part, at);
      at += part.length;
    }
    return request;
  }

  /** Deletes a session's record and its request; its log's rows are the log's to delete. */
  delete(slot: Slot): void {
    this.#sql.run("DELETE FROM log WHERE key = ?", recordKey(slot));
    this.#deleteParts(slot);
  }

  #deleteParts(slot: Slot): void {
    this.#sql.run("DELETE FROM log WHERE key >= ? AND key < ?", ...partKeys(slot));
  }
}

function partsOf(request: Uint8Array): Uint8Array[] {
  const count = Math.ceil(request.length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => request.subarray(i * PART_BYTES, (i + 1) * PART_BYTES));
}
