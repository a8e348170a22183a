/**
 * Whether one origin is there, learned from the requests that it gets anyway. Pure: the time is given, nothing is asked.
 *
 *   there ── requests do not reach it ─▶ away ── a check is due ─▶ (checked by one request) ─┬─ it answers ─▶ there
 *                                           ▲                                                 └─ it does not ─┐
 *                                           └─────────────── the next check is due later ◀────────────────────┘
 *
 * One connection that broke says little: a llama-server that has just closed an idle one looks the same. Two within seconds,
 * and not at the same moment, with no answer between them, say that it is away.
 *
 * Plain values, shared by all requests of an isolate: none of them may wait for another's I/O. A check is taken by one
 * request, and is due again if that one ends before it has an answer.
 */

/** An origin that restarts, or a tunnel that does, is away for seconds. */
const FIRST_CHECK_MS = 2_000;
/** One small request in so long, per isolate, for an origin that stays away. */
const LONGEST_CHECK_MS = 30_000;

/** Idle connections that the server closed are all noticed within milliseconds. */
const SAME_MOMENT_MS = 50;
const SUSPICION_MS = 5_000;

export class Health {
  /** When a first connection broke, Unix milliseconds. */
  #suspectedAt = Number.NEGATIVE_INFINITY;
  /** Tries since it was there; 0: it is. */
  #failures = 0;
  #checkAt = 0;

  get isAvailable(): boolean {
    return this.#failures === 0;
  }

  /** It answered, whatever it said. */
  answered(): void {
    this.#failures = 0;
    this.#suspectedAt = Number.NEGATIVE_INFINITY;
  }

  /** A connection broke, or was refused: the runtime does not say which. Or a short answer did not come in time. */
  broke(now: number): void {
    const sinceMs = now - this.#suspectedAt;
    if (!this.isAvailable || (sinceMs >= SAME_MOMENT_MS && sinceMs < SUSPICION_MS)) this.failed(now);
    else if (sinceMs >= SUSPICION_MS) this.#suspectedAt = now;
  }

  /** It is surely not there, or cannot take requests yet. Times are Unix milliseconds. */
  failed(now: number): void {
    // Requests that fail at the same time are one failure.
    if (this.isAvailable || now >= this.#checkAt) this.#wait(now);
  }

  isCheckDue(now: number): boolean {
    return !this.isAvailable && now >= this.#checkAt;
  }

  /** Whether the caller is to check it now; then nobody else is, for a while. */
  takeCheck(now: number): boolean {
    if (!this.isCheckDue(now)) return false;
    this.#wait(now);
    return true;
  }

  #wait(now: number): void {
    this.#failures += 1;
    this.#checkAt = now + Math.min(LONGEST_CHECK_MS, FIRST_CHECK_MS * 2 ** (this.#failures - 1));
  }
}
