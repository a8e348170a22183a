/**
 * The body of a request that the origin has not answered yet, so that a restart of the object in that moment loses
 * nothing. Gone as soon as the origin has taken or refused it: what has been asked is never asked again.
 */

/** A row holds 2 MB at most on Cloudflare. */
const PART_BYTES = 1_000_000;

export class PendingRequest {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  static createTable(sql: SqlStorage): void {
    sql.exec("CREATE TABLE IF NOT EXISTS request (part INTEGER PRIMARY KEY, data BLOB NOT NULL)");
  }

  /** Keeps `body`, in place of an earlier one. */
  save(body: Uint8Array): void {
    this.delete();
    for (let at = 0; at < body.length; at += PART_BYTES) {
      this.#sql.exec("INSERT INTO request (part, data) VALUES (?, ?)", at, body.subarray(at, at + PART_BYTES));
    }
  }

  /** The kept body; empty when there is none. */
  load(): Uint8Array {
    const parts = this.#sql
      .exec<{ part: number; data: ArrayBuffer }>("SELECT part, data FROM request ORDER BY part")
      .toArray();
    const body = new Uint8Array(parts.reduce((length, { data }) => length + data.byteLength, 0));
    for (const { part, data } of parts) body.set(new Uint8Array(data), part);
    return body;
  }

  delete(): void {
    this.#sql.exec("DELETE FROM request");
  }
}
