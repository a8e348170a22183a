/**
 * The one table of a conversation: its sessions' records, the request that is not answered yet, and the logs' bytes. One,
 * because a table costs two rows written before it holds anything: as much as ten seconds of an answer.
 *
 *   key                  record           data
 *   -1, -2               slot 0's, 1's    the first part of its request, until the first byte of the answer
 *   -SPAN, -2 SPAN …                      the further parts of slot 0's, 1's request, in order
 *   0 …, SPAN …                           slot 0's, 1's log: `key` is where the slot begins plus the offset; see ReplayLog
 *
 * The request is kept so that a restart of the object before that byte loses nothing: whether the origin has the request
 * is asked, and where it says no, the request is sent again.
 */
import type { SessionRecord } from "./session.ts";

/** A conversation can hold two sessions at a time. */
export type Slot = 0 | 1;

/** Room of a slot, in keys that JavaScript's numbers can hold (a second key column would cost a row written). */
export const SLOT_SPAN = 2 ** 50;

/** A row holds 2 MB at most on Cloudflare. */
const PART_BYTES = 1_000_000;

export class ConversationTable {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Whether there ever was a session. */
  get exists(): boolean {
    return this.#sql.exec("SELECT name FROM sqlite_master WHERE name = 'log'").toArray().length > 0;
  }

  /** Makes the table where there is none. Never called for a lookup: asking about an unknown id leaves nothing. */
  create(): void {
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS log (key INTEGER PRIMARY KEY, record TEXT, origin_bytes INTEGER, last_event INTEGER, data BLOB)",
    );
  }

  /** A new session with its request, in place of what was in the slot. */
  add(slot: Slot, record: SessionRecord, request: Uint8Array): void {
    this.delete(slot);
    const [first = request, ...rest] = partsOf(request);
    const query = "INSERT INTO log (key, record, data) VALUES (?, ?, ?)";
    this.#sql.exec(query, recordKey(slot), JSON.stringify(record), first);
    for (const [i, part] of rest.entries()) this.#sql.exec(query, partKey(slot, i), null, part);
  }

  save(slot: Slot, record: SessionRecord): void {
    this.#sql.exec("UPDATE log SET record = ? WHERE key = ?", JSON.stringify(record), recordKey(slot));
  }

  /** Saves the record, and forgets the request. */
  saveWithoutRequest(slot: Slot, record: SessionRecord): void {
    const query = "UPDATE log SET record = ?, data = NULL WHERE key = ?";
    this.#sql.exec(query, JSON.stringify(record), recordKey(slot));
    this.#deleteParts(slot);
  }

  sessions(): { slot: Slot; record: SessionRecord }[] {
    return ([0, 1] as const).flatMap((slot) => {
      const row = this.#sql
        .exec<{ record: string }>("SELECT record FROM log WHERE key = ?", recordKey(slot))
        .toArray()[0];
      return row ? [{ slot, record: JSON.parse(row.record) as SessionRecord }] : [];
    });
  }

  /** The request of a session, as long as it is kept. */
  request(slot: Slot): Uint8Array | undefined {
    type Row = { data: ArrayBuffer | null };
    const own = this.#sql.exec<Row>("SELECT data FROM log WHERE key = ?", recordKey(slot)).toArray();
    if (!own[0]?.data) return undefined;
    const further = this.#sql.exec<Row>(
      "SELECT data FROM log WHERE key >= ? AND key < ? ORDER BY key",
      ...partKeys(slot),
    );
    const parts = [...own, ...further.toArray()].map(({ data }) => new Uint8Array(data ?? new ArrayBuffer(0)));
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
    this.#sql.exec("DELETE FROM log WHERE key = ?", recordKey(slot));
    this.#deleteParts(slot);
  }

  #deleteParts(slot: Slot): void {
    this.#sql.exec("DELETE FROM log WHERE key >= ? AND key < ?", ...partKeys(slot));
  }
}

function recordKey(slot: Slot): number {
  return -1 - slot;
}

function partKey(slot: Slot, i: number): number {
  return -(slot + 1) * SLOT_SPAN + i;
}

/** From the first key to the one behind the last. */
function partKeys(slot: Slot): [number, number] {
  return [partKey(slot, 0), partKey(slot, SLOT_SPAN / 2)];
}

function partsOf(request: Uint8Array): Uint8Array[] {
  const count = Math.ceil(request.length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => request.subarray(i * PART_BYTES, (i + 1) * PART_BYTES));
}
