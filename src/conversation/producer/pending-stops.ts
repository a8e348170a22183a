/**
 * Stops that the origin has not acknowledged. Written before the stop is tried, so that none is forgotten; retried from the
 * alarm, across restarts, until acknowledged or expired: a GPU that works for nobody is what a stop is there to end.
 */
import type { OriginCalls } from "../../origin/origin.ts";
import type { Sql } from "../../storage/sql.ts";
import type { OriginRequest } from "../session/session-record.ts";

/**
 * A stop may overtake its request on the way to the origin, and then stops nothing: for so long after it the request may
 * still arrive, and an acknowledgment is not believed. Once the origin lists a request, milliseconds after it has come, a
 * stop reaches it.
 */
export const STOP_GRACE_MS = 30_000;

const FIRST_RETRY_MS = 10_000;
/** An origin that is away for long, or never acknowledges because it has no stops, is not asked every ten seconds for hours. */
const LONGEST_RETRY_MS = 60_000;

/** The origins by name; `undefined`: it is not in the configuration any more. */
export type StopOrigins = (name: string) => Pick<OriginCalls, "stop"> | undefined;

interface PendingStop {
  /** The origin's name. */
  readonly origin: string;
  /** When it expires, Unix milliseconds. */
  readonly until: number;
  /** Acknowledgments count from here on, Unix milliseconds. Not stored: a restart cuts the request's connection. */
  believedFrom: number;
}

export class PendingStops {
  readonly #sql: Sql;
  /** By the private id at the origin. */
  readonly #stops = new Map<string, PendingStop>();
  /** Tries of the stop that was added last. */
  #tries = 0;

  /** `firstOrigin`: of the stops that were stored before origins had names. */
  constructor(sql: Sql, firstOrigin: string) {
    this.#sql = sql;
    const [table] = sql.all<{ sql: string }>("SELECT sql FROM sqlite_master WHERE name = 'stop'");
    if (!table) return;
    if (!table.sql.includes("origin TEXT")) sql.run("ALTER TABLE stop ADD COLUMN origin TEXT");
    type Row = { origin_id: string; until: number; origin: string | null };
    for (const { origin_id, until, origin } of sql.all<Row>("SELECT origin_id, until, origin FROM stop")) {
      this.#stops.set(origin_id, { origin: origin ?? firstOrigin, until, believedFrom: 0 });
    }
  }

  get isEmpty(): boolean {
    return this.#stops.size === 0;
  }

  has(originId: string): boolean {
    return this.#stops.has(originId);
  }

  /** How long after one try the next is due, milliseconds. */
  get retryMs(): number {
    return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, this.#tries - 1));
  }

  /** Writes them down, in the turn in which their session ends. Times are Unix milliseconds. */
  add(requests: readonly OriginRequest[], until: number, believedFrom: number): void {
    this.#sql.run(
      "CREATE TABLE IF NOT EXISTS stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL, origin TEXT) WITHOUT ROWID",
    );
    for (const { origin, originId } of requests) {
      this.#stops.set(originId, { origin, until, believedFrom });
      this.#sql.run("REPLACE INTO stop (origin_id, until, origin) VALUES (?, ?, ?)", originId, until, origin);
    }
    this.#tries = 0;
  }

  /**
   * The request of this id has been answered, or has come to nothing: the next acknowledgment counts. Returns whether one so
   * far might not have.
   */
  settle(originId: string): boolean {
    const stop = this.#stops.get(originId);
    if (!stop || stop.believedFrom === 0) return false;
    stop.believedFrom = 0;
    return true;
  }

  /** Sends all of them once. `now` as of the call, Unix milliseconds. */
  async retry(origins: StopOrigins, now: number): Promise<void> {
    this.#tries += 1;
    await Promise.all(Array.from(this.#stops, ([id, { origin }]) => this.#send(id, origin, origins, now)));
  }

  async #send(id: string, name: string, origins: StopOrigins, now: number): Promise<void> {
    const origin = origins(name);
    if (!origin) {
      console.log(JSON.stringify({ event: "stop_dropped", origin: name, why: "not in the configuration any more" }));
      this.#delete(id);
      return;
    }
    const result = await origin.stop(id);
    const stop = this.#stops.get(id);
    // Settled, or acknowledged by another try, meanwhile.
    if (!stop) return;
    const isOver = result !== "unreachable" && now >= stop.believedFrom;
    if (isOver || now >= stop.until) this.#delete(id);
  }

  #delete(id: string): void {
    this.#stops.delete(id);
    this.#sql.run("DELETE FROM stop WHERE origin_id = ?", id);
  }
}
