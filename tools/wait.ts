/**
 * Waiting for something to be true, with a deadline: the only way to wait, in tests too.
 */
import { setTimeout as pause } from "node:timers/promises";

/** Generous, because the machine may be busy; a condition that comes true is seen within POLL_MS. */
const DEADLINE_MS = 10_000;
const POLL_MS = 5;

/** Resolves with the condition's first truthy value. Rejects with `what` when the deadline passes first. */
export async function until<Value>(
  condition: () => Value | Promise<Value>,
  what: string,
  deadlineMs = DEADLINE_MS,
): Promise<Exclude<Value, false | null | undefined | 0 | "">> {
  const deadline = performance.now() + deadlineMs;
  while (true) {
    const value = await condition();
    if (value) return value as Exclude<Value, false | null | undefined | 0 | "">;
    if (performance.now() > deadline) throw new Error(`Timed out after ${deadlineMs} ms waiting until ${what}`);
    await pause(POLL_MS);
  }
}

/** The promise's value, unless the deadline passes first. */
export async function within<Value>(promise: Promise<Value>, what: string, deadlineMs = DEADLINE_MS): Promise<Value> {
  const settled = new AbortController();
  const late = pause(deadlineMs, undefined, { signal: settled.signal }).then(
    () => Promise.reject(new Error(`Timed out after ${deadlineMs} ms waiting for ${what}`)),
    // Cancelled below: the promise came in time.
    () => promise,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    settled.abort();
  }
}
