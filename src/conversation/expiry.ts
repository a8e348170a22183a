/** When a conversation's alarm rings, and when its session is over and forgotten. Pure; Unix milliseconds. */
import { HEARTBEAT_MS } from "../tenant/messages.ts";
import { isLive, type SessionState } from "./session/session-state.ts";

/** I8: the next heartbeat of a live session, the expiry of an ended one. */
export function nextAlarm(state: SessionState, now: number, ttlMs: number): number {
  return isLive(state) ? now + HEARTBEAT_MS : state.at + ttlMs;
}

/** A live session does not expire. */
export function isExpired(state: SessionState, now: number, ttlMs: number): boolean {
  return !isLive(state) && state.at + ttlMs <= now;
}
