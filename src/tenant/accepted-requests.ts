/**
 * The accepted requests of a tenant's last minute, in SQL, so that a restart does not open the limit anew. Only requests
 * that some limit counts are written: one row each, deleted a minute later.
 */
import type { Sql } from "../storage/sql.ts";
import { SlidingWindow, WINDOW_MS } from "./sliding-window.ts";

/** Rows are deleted in one go, when the oldest is this much older than it need be: not one statement per request. */
const DELETE_EVERY_MS = 10_000;

export class Requests {
  readonly #sql: Sql;
  readonly #ofTenant: SlidingWindow;
  readonly #ofKeys = new Map<string, SlidingWindow>();
  #deletedAt = 0;

  /** `hasTables`: before there are any, nothing was accepted. */
  constructor(sql: Sql, hasTables: boolean, now: number) {
    this.#sql = sql;
    const rows = hasTables
      ? sql.all<{ at: number; key: string }>("SELECT at, key FROM accepted WHERE at > ?", now - WINDOW_MS)
      : [];
    this.#ofTenant = new SlidingWindow(rows.map(({ at }) => at));
    for (const [key, ofKey] of Map.groupBy(rows, (row) => row.key)) {
      this.#ofKeys.set(key, new SlidingWindow(ofKey.map(({ at }) => at)));
    }
  }

  get ofTenant(): SlidingWindow {
    return this.#ofTenant;
  }

  ofKey(key: string): SlidingWindow {
    let window = this.#ofKeys.get(key);
    if (!window) {
      window = new SlidingWindow();
      this.#ofKeys.set(key, window);
    }
    return window;
  }

  accept(key: string, now: number): void {
    this.#sql.run("INSERT INTO accepted (at, key) VALUES (?, ?)", now, key);
    this.#ofTenant.accept(now);
    this.ofKey(key).accept(now);
    if (now - this.#deletedAt > DELETE_EVERY_MS) this.expire(now);
  }

  expire(now: number): void {
    this.#deletedAt = now;
    this.#sql.run("DELETE FROM accepted WHERE at <= ?", now - WINDOW_MS);
  }
}
