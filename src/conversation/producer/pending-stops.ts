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
/** An origin that is away for long, or never acknowledges because it has no stops, is not asked every ten seconds for hours. */
const LONGEST_RETRY_MS = 60_000;

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
  /** Tries of the stop that was added last. */
  #tries = 0;

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

  has(originId: string): boolean {
    return this.#stops.has(originId);
  }

  /** How long after one try the next is due, milliseconds. */
  get retryMs(): number {
    return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, this.#tries - 1));
  }

  /** Writes them down, in the turn in which their session ends. Times are Unix milliseconds. */
  add(originIds: readonly string[], until: number, believedFrom: number): void {
    this.#sql.run("CREATE TABLE IF NOT EXISTS stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID");
    for (const id of originIds) {
      this.#stops.set(id, { until, believedFrom });
      this.#sql.run("REPLACE INTO stop (origin_id, until) VALUES (?, ?)", id, until);
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
  async retry(origin: Pick<OriginCalls, "stop">, now: number): Promise<void> {
    this.#tries += 1;
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
