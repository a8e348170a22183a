/**
 * The requests of the last minute, exactly: at most `limit` are accepted in any 60 s.
 *
 *     forgotten      counted
 *   ─────────────┃──x──x─x────x──▶ now
 *             now - 60 s
 *
 * Owns nothing durable: whoever keeps the times (accepted-requests.ts) gives them back after a restart.
 */
import type { RequestsLeft } from "./messages.ts";

export const WINDOW_MS = 60_000;

export class SlidingWindow {
  /** Rising. */
  #times: number[];

  constructor(times: readonly number[] = []) {
    this.#times = times.toSorted((a, b) => a - b);
  }

  get isEmpty(): boolean {
    return this.#times.length === 0;
  }

  accept(now: number): void {
    // A clock that steps back does not make room: the order of the times is what the counting rests on.
    this.#times.push(Math.max(now, this.#times.at(-1) ?? now));
  }

  left(now: number, limit: number): RequestsLeft {
    this.#forget(now);
    const last = this.#times.at(-1);
    return {
      limit,
      remaining: Math.max(0, limit - this.#times.length),
      resetMs: last === undefined ? 0 : last + WINDOW_MS - now,
    };
  }

  /** How long until one more is accepted, milliseconds; 0 now. */
  waitMs(now: number, limit: number): number {
    if (limit === 0) return WINDOW_MS;
    this.#forget(now);
    const mustLeave = this.#times[this.#times.length - limit];
    return mustLeave === undefined ? 0 : mustLeave + WINDOW_MS - now;
  }

  #forget(now: number): void {
    const first = this.#times.findIndex((time) => time > now - WINDOW_MS);
    if (first === -1) this.#times = [];
    else if (first > 0) this.#times.splice(0, first);
  }
}
