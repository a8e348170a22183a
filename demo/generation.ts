/**
 * Turns a request into bytes: words at their pace, pings in the silence, and the ending the request asked for.
 *
 * A generation writes into a ring and knows no client. It waits for a client only in the two cases below, because at
 * pace 0 it would otherwise overrun a reader that is merely slower than it:
 *   - a reader more than LAG_BYTES behind holds it up, until that reader has not moved for STALL_MS;
 *   - without a conversation id there is no replay, so the only reader holds it up for as long as it takes.
 */
import type { Dialect, OriginEvent } from "./dialects.ts";
import type { ReplayRing } from "./replay-ring.ts";
import type { GenerationRequest } from "./request.ts";
import { seaWords } from "./sea.ts";
import type { Reader, Session } from "./session.ts";
import type { Slot } from "./slots.ts";

/** A quarter of the ring: far from losing bytes. */
const LAG_BYTES = 1024 * 1024;
const STALL_MS = 1000;
/** How much one turn of the event loop may write, so that others get theirs. */
const BATCH_BYTES = 64 * 1024;

/** Writes the whole answer, as of the session's start, into its ring and closes it. `client`: who asked, if still there. Returns early, and at once, when it is stopped. */
export async function streamAnswer(
  request: GenerationRequest,
  dialect: Dialect,
  slot: Slot,
  session: Session,
  client: Reader | undefined,
): Promise<void> {
  const { ring, stopped: signal } = session;
  const pings = startPings(request.pingIntervalMs, ring);
  try {
    // Of an answer that a restart cut, so much is due at once.
    const elapsed = Date.now() - session.startedAt;
    await pause(request.firstTokenMs - elapsed, signal);
    const words = seaWords(request.seed);
    let batch = dialect.opening().map((event) => encode(event, request.eventBytes));
    let due = performance.now() - Math.max(0, elapsed - request.firstTokenMs);
    while (slot.decoded < request.tokens && !signal.aborted) {
      let size = 0;
      const now = performance.now();
      while (slot.decoded < request.tokens && due <= now && size < BATCH_BYTES) {
        slot.decoded++;
        due += request.paceMs;
        for (const event of dialect.add(words.next().value)) {
          const bytes = encode(event, request.eventBytes);
          size += bytes.length;
          batch.push(bytes);
        }
      }
      ring.append(Buffer.concat(batch));
      batch = [];
      const early = due - performance.now();
      if (early > 0) await pause(early, signal);
      else await new Promise((resolve) => setImmediate(resolve));
      while (isHeldUp(session) && !signal.aborted) {
        await pause(5, signal);
        due = performance.now();
      }
    }
    if (signal.aborted) return;

    pings.stop();
    if (request.ending === "hang") await aborted(signal);
    if (request.ending === "cut") client?.cutAt(ring.end);
    if (signal.aborted || request.ending === "truncate") return;
    const failure = dialect.failure(500, "Context size has been exceeded.", "server_error");
    const last = request.ending === "error" ? [failure] : dialect.closing();
    ring.append(Buffer.concat(last.map((event) => encode(event, request.eventBytes))));
  } finally {
    pings.stop();
    ring.close();
  }
}

/** The same answer in one piece, after as long as its words take. */
export async function wholeAnswer(
  request: GenerationRequest,
  dialect: Dialect,
  slot: Slot,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  await pause(request.firstTokenMs, signal);
  const words = seaWords(request.seed);
  for (let due = performance.now(); slot.decoded < request.tokens && !signal.aborted; due += request.paceMs) {
    await pause(due - performance.now(), signal);
    slot.decoded++;
    dialect.add(words.next().value);
  }
  if (request.ending === "hang") await aborted(signal);
  return padded(dialect.whole(), request.eventBytes);
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

function encode(event: OriginEvent, eventBytes = 0): Buffer {
  const data = typeof event.data === "string" ? event.data : JSON.stringify(padded(event.data, eventBytes));
  return Buffer.from(event.name ? `event: ${event.name}\ndata: ${data}\n\n` : `data: ${data}\n\n`);
}

/** Counting numbers rather than one letter, so that bytes joined at the wrong place do not look right. */
function padded(json: Record<string, unknown>, eventBytes: number): Record<string, unknown> {
  const missing = eventBytes - JSON.stringify(json).length;
  if (missing <= 0) return json;
  return { ...json, pad: COUNTING.repeat(Math.ceil(missing / COUNTING.length)).slice(0, missing) };
}

const COUNTING = Array.from({ length: 1000 }, (_, n) => `${n} `).join("");

function isHeldUp({ ring, readers, isResumable }: Session): boolean {
  const now = performance.now();
  return [...readers].some((reader) => {
    const isBehind = ring.end - reader.offset > LAG_BYTES;
    return isBehind && (!isResumable || now - reader.movedAt < STALL_MS);
  });
}

/** A ping goes into the ring like everything else: it counts, and is replayed. */
function startPings(intervalMs: number, ring: ReplayRing): { stop(): void } {
  if (intervalMs <= 0) return { stop() {} };
  let end = ring.end;
  let lastSaid = performance.now();
  // Looked at in quarters of the interval, so that a ping is at most that much late.
  const timer = setInterval(() => {
    const now = performance.now();
    if (ring.end === end && now - lastSaid < intervalMs) return;
    if (ring.end === end) ring.append(Buffer.from(":\n\n"));
    end = ring.end;
    lastSaid = now;
  }, intervalMs / 4);
  return { stop: () => clearInterval(timer) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
