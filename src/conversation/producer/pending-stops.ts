/**
 * Stops that the origin has not acknowledged. Written before the stop is tried, so that none is forgotten; retried from the
 * alarm, across restarts, until acknowledged or expired: a GPU that works for nobody is what a stop is there to end.
 */
import type { OriginCalls } from "../../origin/origin.ts";
import type { Sql } from "../log/sql.ts";

/**
 * A stop may overtake its request on the way to the origin, and then stops nothing: for so long after it the request may
 * still arrive, and an acknowledgment is not believed. Once the origin lists a request, milliseconds after it has come, a
 * stop reaches it.
 */
export const STOP_GRACE_MS = 30_000;

const FIRST_RETRY_MS = 10_000;
/** An origin that never acknowledges, because it has no stops, is not asked every ten seconds for hours. */
const LAST_RETRY_MS = 600_000;

interface PendingStop {
  /** When it expires, Unix milliseconds. */
  readonly until: number;
  /** Acknowledgments count from here on, Unix milliseconds. Not stored: a restart cuts the request's connection. */
  believedFrom: number;
}

export class PendingStops {
  readonly #sql: Sql;
  /** By the private id at the origin. */
  readonly #stops = new Map<string, PendingStop>();
  #retryMs = FIRST_RETRY_MS;

  constructor(sql: Sql) {
    this.#sql = sql;
    const hasTable = sql.all("SELECT name FROM sqlite_master WHERE name = 'stop'").length > 0;
    if (!hasTable) return;
    type Row = { origin_id: string; until: number };
    for (const { origin_id, until } of sql.all<Row>("SELECT origin_id, until FROM stop")) {
      this.#stops.set(origin_id, { until, believedFrom: 0 });
    }
  }

  get isEmpty(): boolean {
    return this.#stops.size === 0;
  }

  /** How long after one retry the next is due, milliseconds. */
  get retryMs(): number {
    return this.#retryMs;
  }

  /** Writes them down, in the turn in which their session ends. Times are Unix milliseconds. */
  add(originIds: readonly string[], until: number, believedFrom: number): void {
    this.#sql.run("CREATE TABLE IF NOT EXISTS stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID");
    for (const id of originIds) {
      this.#stops.set(id, { until, believedFrom });
      this.#sql.run("REPLACE INTO stop (origin_id, until) VALUES (?, ?)", id, until);
    }
    this.#retryMs = FIRST_RETRY_MS;
  }

  /** The request of this id has been answered, or has come to nothing: the next acknowledgment counts. */
  settle(originId: string): void {
    const stop = this.#stops.get(originId);
    if (stop) stop.believedFrom = 0;
  }

  /** Sends all of them once. `now` as of the call, Unix milliseconds. */
  async retry(origin: Pick<OriginCalls, "stop">, now: number): Promise<void> {
    this.#retryMs = Math.min(LAST_RETRY_MS, 2 * this.#retryMs);
    await Promise.all(Array.from(this.#stops.keys(), (id) => this.#send(id, origin, now)));
  }

  async #send(id: string, origin: Pick<OriginCalls, "stop">, now: number): Promise<void> {
    const result = await origin.stop(id);
    const stop = this.#stops.get(id);
    // Settled, or acknowledged by another try, meanwhile.
    if (!stop) return;
    const isOver = result !== "unreachable" && now >= stop.believedFrom;
    if (!isOver && now < stop.until) return;
    this.#stops.delete(id);
    this.#sql.run("DELETE FROM stop WHERE origin_id = ?", id);
  }
}
