/**
 * Whether a generating request is accepted: a pure decision over the owner's limits and the exact counts. A refusal names
 * the limit, its number, and when trying again makes sense; it touches nothing that runs.
 */
import { INVALID_KEY_MESSAGE } from "../errors.ts";
import type { BodyLimits, Limits, Refusal, RequestsLeft, Scope } from "./messages.ts";
import type { SlidingWindow } from "./sliding-window.ts";

/** Until an answer that runs may have ended: nobody knows, so soon, but not at once. */
const LIVE_RETRY_SECONDS = 5;

/** Whom limits belong to, and how much of them is used. */
export interface Party {
  /** As it stands in a message: `Tenant "alice"`, `Key "phone"`. */
  readonly who: string;
  readonly limits: Limits;
  readonly window: SlidingWindow;
  /** Answers that run, without the one whose slot this request uses. */
  readonly live: number;
  /** What conversations store, bytes; only read where `limits.bytes` is set. */
  keptBytes(): number;
}

/** `undefined`: accepted. `nextExpiry`: when the next session expires, Unix milliseconds. */
export function refusalOf(
  parties: readonly Party[],
  nextExpiry: () => number | undefined,
  now: number,
): Refusal | undefined {
  return (
    firstOf(parties, tooManyLive) ??
    firstOf(parties, (party) => tooManyBytes(party, nextExpiry, now)) ??
    firstOf(parties, (party) => tooManyRequests(party, now))
  );
}

/** A key that holds, and may generate? `undefined`: yes. */
export function keyProblem(key: { readonly name: string; readonly scopes: readonly Scope[] } | undefined) {
  if (!key) return { status: 401, message: INVALID_KEY_MESSAGE } as const;
  if (key.scopes.includes("generate")) return undefined;
  return { status: 403, message: `Key "${key.name}" may read, not generate` } as const;
}

/** What only the Worker can check, because it reads the body. */
export function bodyLimitsOf(parties: readonly Party[]): BodyLimits[] {
  return parties.flatMap(({ who, limits: { body, models } }) =>
    body === undefined && models === undefined
      ? []
      : [{ who, ...(body !== undefined && { body }), ...(models && { models }) }],
  );
}

/** Of the limits per minute the one with less left. */
export function leastLeft(parties: readonly Party[], now: number): RequestsLeft | undefined {
  return parties
    .flatMap(({ window, limits: { rpm } }) => (rpm === undefined ? [] : [window.left(now, rpm)]))
    .toSorted((a, b) => a.remaining - b.remaining)[0];
}

function tooManyLive({ who, limits, live }: Party): Refusal | undefined {
  if (limits.live === undefined || live < limits.live) return undefined;
  const message = `${who} has ${live} answers running; the limit is ${limits.live} at once`;
  return { status: 429, message, retryAfter: LIVE_RETRY_SECONDS };
}

function tooManyRequests({ who, limits, window }: Party, now: number): Refusal | undefined {
  if (limits.rpm === undefined || window.left(now, limits.rpm).remaining > 0) return undefined;
  const message = `${who} has made ${limits.rpm} requests within 60 s; the limit is ${limits.rpm} per minute`;
  return { status: 429, message, retryAfter: seconds(window.waitMs(now, limits.rpm)) };
}

function tooManyBytes(
  { who, limits, keptBytes }: Party,
  nextExpiry: () => number | undefined,
  now: number,
): Refusal | undefined {
  if (limits.bytes === undefined) return undefined;
  const kept = keptBytes();
  if (kept < limits.bytes) return undefined;
  const message = `${who} stores ${kept} bytes of answers; the limit is ${limits.bytes}. DELETE some, or wait until they expire`;
  return { status: 429, message, retryAfter: seconds((nextExpiry() ?? now) - now) };
}

function firstOf(parties: readonly Party[], check: (party: Party) => Refusal | undefined): Refusal | undefined {
  for (const party of parties) {
    const refusal = check(party);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Whole ones, and at least one: a client that comes back at once finds the same. */
function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}
