/**
 * Frees the GPU of sessions that have ended. I10: what a session began at an origin is written down as to be stopped in the
 * turn in which it ends, and only then the origin is asked.
 */
import type { OriginPool } from "../origin/pool.ts";
import type { Sql } from "../storage/sql.ts";
import type { ActiveSession } from "./active-session.ts";
import { PendingStops, STOP_GRACE_MS } from "./producer/pending-stops.ts";
import { sentRequests } from "./session/record-changes.ts";
import type { Session } from "./session/session.ts";
import type { TenantReports } from "./tenant-reports.ts";

export class SlotRelease {
  readonly #pendingStops: PendingStops;
  readonly #origins: OriginPool;
  readonly #reports: TenantReports;
  /** How long a stop is retried, milliseconds. */
  readonly #patienceMs: number;
  #tried: Promise<void> = Promise.resolve();

  constructor(sql: Sql, origins: OriginPool, reports: TenantReports, patienceMs: number) {
    this.#pendingStops = new PendingStops(sql, origins.firstName);
    this.#origins = origins;
    this.#reports = reports;
    this.#patienceMs = patienceMs;
  }

  /** Every stop is acknowledged, or has expired. */
  get isDone(): boolean {
    return this.#pendingStops.isEmpty;
  }

  /** How long after one try the next is due, milliseconds. */
  get retryMs(): number {
    return this.#pendingStops.retryMs;
  }

  /** Settles when every stop so far was tried. Not restored: what it waits for is over by then. */
  get tried(): Promise<void> {
    return this.#tried;
  }

  /** Whether the origin has yet to acknowledge the stop of this session. */
  holds({ record }: Session): boolean {
    return this.#pendingStops.has(record.originId);
  }

  /** The session has ended. Resolves when its stop was tried. */
  free({ session, producer }: ActiveSession): Promise<void> {
    const now = Date.now();
    const isAnswered = producer.close();
    const believedFrom = isAnswered ? 0 : now + STOP_GRACE_MS;
    this.#pendingStops.add(sentRequests(session.record), now + this.#patienceMs, believedFrom);
    this.#tried = this.retry();
    return this.#tried;
  }

  /** The session has its answer: what an earlier connection may have brought to an origin after all is not wanted. */
  async freeAbandoned({ record }: Session): Promise<void> {
    if (record.abandoned.length === 0) return;
    this.#pendingStops.add(record.abandoned, Date.now() + this.#patienceMs, 0);
    await this.retry();
  }

  /** The request of a session that had ended was answered, or has come to nothing: the next acknowledgment counts. */
  async settle({ record }: Session): Promise<void> {
    if (this.#pendingStops.settle(record.originId)) await this.retry();
  }

  /** Sends every stop once. */
  async retry(): Promise<void> {
    if (!this.isDone) await this.#pendingStops.retry((name) => this.#origins.get(name), Date.now());
    if (this.isDone) await this.#reports.slotsFreed();
  }
}
