/**
 * Which conversations of a tenant exist: a superset, so that a lookup wakes only what it names, and an unknown id nothing.
 *
 *   renewed ──▶ live ──ended──▶ ended ──▶ its time is over, or struck
 *                       └── not renewed for two heartbeats: asked (`settle`), not believed
 *
 * The conversation's object is the truth. Messages come late, twice or not at all: a message about a session never undoes
 * what a newer one of the same conversation has said, and what was struck off is not written again.
 */
import type { LookupRow } from "../protocol.ts";
import type { Sql, SqlColumn } from "../storage/sql.ts";
import {
  type EndedSession,
  HEARTBEAT_MS,
  type IndexAnswer,
  type LiveSession,
  type Standing,
  type StruckSession,
} from "./messages.ts";
import { RecentNames } from "./recent-names.ts";
import { storedRow } from "./stored-json.ts";

/** After this long without a heartbeat the conversation is asked. */
export const STALE_MS = 2 * HEARTBEAT_MS;
/** What a conversation costs beside its bytes: its own database, its row here. Bounds how many a tenant can keep. */
export const OVERHEAD_BYTES = 16_384;
/** Sessions that are over and left no row to know them by. */
const OVER_NAMES = 1_000;
/** A bound value holds 2 MB at most; ids have up to 512 bytes, and JSON may double them. */
const IDS_PER_QUERY = 1_000;

/** A live session, as of its last message. */
export interface Live {
  readonly session: string;
  readonly key: string;
  readonly startedAt: number;
  readonly model: string | undefined;
  /** `undefined`: none was chosen yet, or not told. */
  origin: string | undefined;
  bytes: number;
  reattached: number;
  /** -Infinity after a restart: a heartbeat is in memory only. */
  renewedAt: number;
}

interface LiveRow extends Record<string, SqlColumn> {
  conversation: string;
  session: string;
  key: string;
  started_at: number;
  bytes: number;
  model: string | null;
  origin: string | null;
}

/** What a conversation stores when no session is live, if anything. */
interface Kept {
  readonly row?: LookupRow | undefined;
  readonly expiresAt?: number | undefined;
  readonly bytes: number;
  readonly key: string;
}

export class ConversationIndex {
  readonly #sql: Sql;
  readonly #live = new Map<string, Live>();
  /** Late messages about these change nothing. In memory: what a restart forgets, `settle` and expiry put right. */
  readonly #over = new RecentNames(OVER_NAMES);
  /** Of the ended ones; not known before somebody wants it. May be too high by what has expired since. */
  #endedBytes: number | undefined;

  constructor(sql: Sql, hasTables: boolean) {
    this.#sql = sql;
    if (!hasTables) {
      this.#endedBytes = 0;
      return;
    }
    for (const { conversation, started_at: startedAt, model, origin, ...live } of sql.all<LiveRow>(
      "SELECT conversation, session, key, started_at, bytes, model, origin FROM live",
    )) {
      const named = { model: model ?? undefined, origin: origin ?? undefined };
      const unheard = { reattached: 0, renewedAt: Number.NEGATIVE_INFINITY };
      this.#live.set(conversation, { ...live, ...named, startedAt, ...unheard });
    }
  }

  /** A session began, or its heartbeat came. Writes where the row is new: heartbeats cost nothing. */
  renew({ conversation, ...told }: LiveSession, now: number): void {
    const { session, key, startedAt, bytes, model, origin, reattached = 0 } = told;
    const known = this.#live.get(conversation);
    if (known?.session === session) {
      Object.assign(known, { bytes, origin: origin ?? known.origin, reattached, renewedAt: now });
      return;
    }
    if (this.#over.has(session) || this.#endedSession(conversation) === session) return;
    if (known && known.startedAt > startedAt) return;
    this.#live.set(conversation, { session, key, startedAt, model, origin, bytes, reattached, renewedAt: now });
    this.#sql.run(
      "INSERT OR REPLACE INTO live (conversation, session, key, started_at, bytes, model, origin) VALUES (?, ?, ?, ?, ?, ?, ?)",
      conversation,
      session,
      key,
      startedAt,
      bytes,
      model ?? null,
      origin ?? null,
    );
  }

  /** Whether this is news: an end that was told before is not counted again. */
  end({ conversation, session, row, expiresAt, bytes, usage }: EndedSession): boolean {
    if (this.#over.has(session) || this.#endedSession(conversation) === session) return false;
    if (row?.session !== session) this.#over.add(session);
    const live = this.#live.get(conversation);
    // Of a session that a newer one replaced nothing but the usage is news.
    if (live && live.session !== session) return true;
    this.#forgetLive(conversation);
    this.#keep(conversation, { row, expiresAt, bytes, key: usage.key });
    return true;
  }

  /** The conversation has nothing any more, unless a newer session began. */
  strike({ conversation, session }: StruckSession): void {
    this.#over.add(session);
    if (this.#live.get(conversation)?.session === session) this.#forgetLive(conversation);
    if (this.#endedSession(conversation) === session) this.#forgetEnded(conversation);
  }

  /** Whether there may be something. `false` is certain, but for a session whose beginning was lost, for a heartbeat. */
  knows(conversation: string, now: number): boolean {
    if (this.#live.has(conversation)) return true;
    const query = "SELECT 1 FROM ended WHERE conversation = ? AND expires_at > ?";
    return this.#sql.all(query, conversation, now).length > 0;
  }

  find(conversations: readonly string[], now: number): IndexAnswer {
    const live = conversations.filter((conversation) => this.#live.has(conversation));
    const rows: LookupRow[] = [];
    const query = `SELECT row FROM ended WHERE expires_at > ?
      AND conversation IN (SELECT value FROM json_each(?))`;
    for (let at = 0; at < conversations.length; at += IDS_PER_QUERY) {
      const asked = conversations.slice(at, at + IDS_PER_QUERY).filter((conversation) => !this.#live.has(conversation));
      for (const { row: text } of this.#sql.all<{ row: string }>(query, now, JSON.stringify(asked))) {
        const row = storedRow(text);
        if (row) rows.push(row);
      }
    }
    return { rows, live };
  }

  /** The slots that sessions hold, as conversation and key. */
  *slots(): IterableIterator<{ slot: string; key: string }> {
    for (const [slot, { key }] of this.#live) yield { slot, key };
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** Without the conversations' names: for the owner, whose they are not. */
  get liveSessions(): Iterable<Readonly<Live>> {
    return this.#live.values();
  }

  /** Live by name, but silent for too long. */
  stale(now: number): { conversation: string; session: string }[] {
    return Array.from(this.#live, ([conversation, { session, renewedAt }]) => ({ conversation, session, renewedAt }))
      .filter(({ renewedAt }) => now - renewedAt > STALE_MS)
      .map(({ conversation, session }) => ({ conversation, session }));
  }

  /** What the conversation said when it was asked about `session`. Nothing, when the index has news of its own since. */
  settle(conversation: string, session: string, standing: Standing, now: number): void {
    const known = this.#live.get(conversation);
    if (known?.session !== session || now - known.renewedAt <= STALE_MS) return;
    if (standing.live) {
      this.#forgetLive(conversation);
      this.renew(standing.live, now);
      return;
    }
    this.#forgetLive(conversation);
    this.#keep(conversation, standing);
  }

  /** Bytes that the tenant's conversations store; what has expired is counted until `expire`. */
  get keptBytes(): number {
    this.#endedBytes ??= Number(this.#sql.all("SELECT total(bytes) AS bytes FROM ended")[0]?.bytes ?? 0);
    let bytes = this.#endedBytes;
    for (const live of this.#live.values()) bytes += live.bytes + OVERHEAD_BYTES;
    return bytes;
  }

  /** The same of one key. Reads all rows: only where a key has such a limit. */
  keptBytesOf(key: string): number {
    let bytes = Number(this.#sql.all("SELECT total(bytes) AS bytes FROM ended WHERE key = ?", key)[0]?.bytes ?? 0);
    for (const live of this.#live.values()) if (live.key === key) bytes += live.bytes + OVERHEAD_BYTES;
    return bytes;
  }

  /** When the next ended one expires, Unix milliseconds. */
  get nextExpiry(): number | undefined {
    const next = this.#sql.all<{ at: number | null }>("SELECT min(expires_at) AS at FROM ended")[0]?.at;
    return next ?? undefined;
  }

  expire(now: number): void {
    this.#sql.run("DELETE FROM ended WHERE expires_at <= ?", now);
    this.#endedBytes = undefined;
  }

  #endedSession(conversation: string): string | undefined {
    const query = "SELECT session FROM ended WHERE conversation = ?";
    return this.#sql.all<{ session: string }>(query, conversation)[0]?.session;
  }

  /** In place of what there was. */
  #keep(conversation: string, { row, expiresAt, bytes, key }: Kept): void {
    this.#forgetEnded(conversation);
    if (!row || expiresAt === undefined) return;
    const cost = bytes + OVERHEAD_BYTES;
    this.#sql.run(
      "INSERT INTO ended (conversation, session, key, row, bytes, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
      conversation,
      row.session,
      key,
      JSON.stringify(row),
      cost,
      expiresAt,
    );
    if (this.#endedBytes !== undefined) this.#endedBytes += cost;
  }

  #forgetLive(conversation: string): void {
    if (!this.#live.delete(conversation)) return;
    this.#sql.run("DELETE FROM live WHERE conversation = ?", conversation);
  }

  #forgetEnded(conversation: string): void {
    const query = "DELETE FROM ended WHERE conversation = ? RETURNING bytes";
    const bytes = this.#sql.all<{ bytes: number }>(query, conversation)[0]?.bytes ?? 0;
    if (this.#endedBytes !== undefined) this.#endedBytes -= bytes;
  }
}
