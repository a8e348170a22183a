/**
 * The records of a conversation's sessions, and the requests that are not answered yet: the only SQL on keys below 0 of the
 * conversation's table, `log` (see log/row-keys.ts), which is made here. One table, because a table costs two rows written
 * before it holds anything: as much as ten seconds of an answer.
 *
 *   key                  record           origin_bytes    data
 *   -1, -2               slot 0's, 1's    version         the first part of its request, until the answer's first byte
 *   -SPAN, -2 SPAN …                                      the further parts of slot 0's, 1's request, in order
 *
 * The request is kept so that a restart of the object before that byte loses nothing: the gateway asks the origin whether it
 * has the request, and if not, sends it again. A record is text: what it says is the session's business.
 *
 * The version says how to read a session: its record, its request, the rows of its log. It is in a column that a record's
 * row has and does not use, because that costs nothing: a row of its own is one more written per answer, a table two, a
 * Durable Object refuses PRAGMA user_version, and inside the record it could only be read by who can read the record.
 * It is written with every record, so a session of an older version becomes one of this version when it is saved.
 *
 *   none    before versions were written: read as 1
 *   1       the table as `create` makes it; a record is a JSON object (session/session-record.ts has both forms)
 *   2       the record's state is one value, and it remembers the sessions that were replaced
 *   3       the record names the session's origin, and those of the requests that were sent before
 *
 * A change that a reader of the version before would misread takes the next number. In all versions the table is called
 * `log`, and has its versions in `origin_bytes` at the keys -1 and -2, so that an older gateway knows what it cannot read.
 */
import type { Sql } from "../storage/sql.ts";
import { partKey, partKeys, recordKey, type Slot } from "./log/row-keys.ts";

/** A row holds 2 MB at most on Cloudflare. */
const PART_BYTES = 1_000_000;

const VERSION = 3;

/** The sessions can be neither continued nor replayed: a newer gateway stored them, and was then rolled back. */
export class StorageVersionError extends Error {
  override readonly name = "StorageVersionError";

  constructor(version: number) {
    super(`The conversation was stored in version ${version}; this gateway reads versions up to ${VERSION}`);
  }
}

export interface StoredSession {
  readonly slot: Slot;
  readonly version: number;
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
    const query = "INSERT INTO log (key, record, origin_bytes, data) VALUES (?, ?, ?, ?)";
    this.#sql.run(query, recordKey(slot), record, VERSION, first);
    for (const [i, part] of rest.entries()) this.#sql.run(query, partKey(slot, i), null, null, part);
  }

  save(slot: Slot, record: string): void {
    const query = "UPDATE log SET record = ?, origin_bytes = ? WHERE key = ?";
    this.#sql.run(query, record, VERSION, recordKey(slot));
  }

  /** Saves the record, and forgets the request. */
  saveWithoutRequest(slot: Slot, record: string): void {
    const query = "UPDATE log SET record = ?, origin_bytes = ?, data = NULL WHERE key = ?";
    this.#sql.run(query, record, VERSION, recordKey(slot));
    this.#deleteParts(slot);
  }

  sessions(): StoredSession[] | StorageVersionError {
    const query = "SELECT record, coalesce(origin_bytes, 1) AS version FROM log WHERE key = ?";
    const sessions = ([0, 1] as const).flatMap((slot) =>
      this.#sql.all<{ record: string; version: number }>(query, recordKey(slot)).map((row) => ({ slot, ...row })),
    );
    const newest = Math.max(0, ...sessions.map(({ version }) => version));
    return newest > VERSION ? new StorageVersionError(newest) : sessions;
  }

  /** Whether the request of a session is kept. */
  holds(slot: Slot): boolean {
    const query = "SELECT 1 FROM log WHERE key = ? AND data IS NOT NULL";
    return this.#sql.all(query, recordKey(slot)).length > 0;
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
