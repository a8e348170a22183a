/** When a producer's waiting is over. Pure. */

/** Silence after the final event: the answer is complete, whatever keeps the origin from closing. */
const CLOSE_GRACE_MS = 5_000;
/** Silence after which the origin is asked whether it has sent bytes that never came: two of its pings and a bit. */
const PROBE_AFTER_MS = 75_000;

/** Time limits in milliseconds, and one of size. */
export interface ProducerLimits {
  /** Without progress, before the session is given up. */
  readonly reconnectMs: number;
  /** Connected, without a byte, before the session is given up. */
  readonly originIdleMs: number;
  /** From the request to the last byte. */
  readonly maxGenerationMs: number;
  /** Bytes of a session that can be replayed: more of a JSON answer could not be given to anybody. */
  readonly retainedBytes: number;
}

/** What the watchdog looks at. Times are Unix milliseconds. */
export interface Contact {
  readonly startedAt: number;
  /** A request or its answer is under way: silence is then the origin's, not the network's. */
  readonly isConnected: boolean;
  /** When the origin last sent something. */
  readonly heardAt: number;
  readonly probedAt: number;
  /** The log ends with the answer's final event. */
  readonly isComplete: boolean;
}

/** How often to look. */
export function watchIntervalMs({ originIdleMs, maxGenerationMs }: ProducerLimits): number {
  return Math.min(5_000, originIdleMs / 4, maxGenerationMs / 4);
}

/**
 * `close`: end the connection, the answer is complete. `probe`: ask the origin. `origin_timeout` and `too_long`: end the session.
 * The order matters: an answer that is complete is not idle, and none is probed that is over.
 */
export function watch(
  now: number,
  contact: Contact,
  limits: ProducerLimits,
): "wait" | "probe" | "close" | "origin_timeout" | "too_long" {
  const silence = now - contact.heardAt;
  if (now - contact.startedAt > limits.maxGenerationMs) return "too_long";
  if (!contact.isConnected) return "wait";
  // Not later than at the second look: they come as often as this takes.
  if (silence >= CLOSE_GRACE_MS && contact.isComplete) return "close";
  if (silence > limits.originIdleMs) return "origin_timeout";
  const sinceContact = now - Math.max(contact.heardAt, contact.probedAt);
  return sinceContact > Math.min(PROBE_AFTER_MS, limits.originIdleMs / 2) ? "probe" : "wait";
}
