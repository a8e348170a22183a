/** When a conversation's alarm rings, and when its session is over and forgotten. Pure; Unix milliseconds. */
import { HEARTBEAT_MS } from "../tenant/messages.ts";
import { isLive, type SessionState } from "./session/session-state.ts";

/** I8: the next heartbeat of a live session, the expiry of an ended one. */
export function nextAlarm(state: SessionState, now: number, ttlMs: number): number {
  return expiryOf(state, ttlMs) ?? now + HEARTBEAT_MS;
}

/** `undefined` while the session is live: that does not expire. */
export function expiryOf(state: SessionState, ttlMs: number): number | undefined {
  return isLive(state) ? undefined : state.at + ttlMs;
}

/** A live session does not expire. */
export function isExpired(state: SessionState, now: number, ttlMs: number): boolean {
  return (expiryOf(state, ttlMs) ?? Number.POSITIVE_INFINITY) <= now;
}
