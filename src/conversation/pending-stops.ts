/**
 * Generations that were to be stopped while their origin could not be reached. They are told again until the origin has
 * heard it, also after a restart of the object: a GPU that works for nobody is what a stop is there to end.
 */
import type { Origin } from "../origin/origin.ts";

export class PendingStops {
  readonly #sql: SqlStorage;
  /** Private id at the origin → when it is given up, Unix milliseconds. */
  readonly #until = new Map<string, number>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    const hasTable = sql.exec("SELECT name FROM sqlite_master WHERE name = 'stop'").toArray().length > 0;
    if (!hasTable) return;
    for (const { origin_id, until } of sql.exec<{ origin_id: string; until: number }>(
      "SELECT origin_id, until FROM stop",
    )) {
      this.#until.set(origin_id, until);
    }
  }

  get isEmpty(): boolean {
    return this.#until.size === 0;
  }

  add(originIds: readonly string[], until: number): void {
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS stop (origin_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",
    );
    for (const id of originIds) {
      this.#until.set(id, until);
      this.#sql.exec("REPLACE INTO stop (origin_id, until) VALUES (?, ?)", id, until);
    }
  }

  /** Tells the origin once more. */
  async retry(origin: Origin, now: number): Promise<void> {
    const tries = Array.from(this.#until, async ([id, until]) => {
      const result = await origin.stop(id);
      if (result === "unreachable" && now < until) return;
      this.#until.delete(id);
      this.#sql.exec("DELETE FROM stop WHERE origin_id = ?", id);
    });
    await Promise.all(tries);
  }
}
