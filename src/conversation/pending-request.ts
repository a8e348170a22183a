/**
 * The body of a request until the first byte of its answer is in the log, so that a restart of the object before then
 * loses nothing: whether the origin has the request is asked, and where it says no, the request is sent again.
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

  /** The kept body, if there is one. */
  load(): Uint8Array | undefined {
    const parts = this.#sql
      .exec<{ part: number; data: ArrayBuffer }>("SELECT part, data FROM request ORDER BY part")
      .toArray();
    if (parts.length === 0) return undefined;
    const body = new Uint8Array(parts.reduce((length, { data }) => length + data.byteLength, 0));
    for (const { part, data } of parts) body.set(new Uint8Array(data), part);
    return body;
  }

  delete(): void {
    this.#sql.exec("DELETE FROM request");
  }
}
