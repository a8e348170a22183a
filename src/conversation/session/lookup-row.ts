/** A session as a row of a lookup answer. */
import type { LookupRow } from "../../protocol.ts";
import type { Session } from "./session.ts";
import { endOf, isLive } from "./session-state.ts";

export function lookupRow({ log, bodyStart, record }: Session): LookupRow {
  const { id, session, origin, startedAt, reattached, state } = record;
  return {
    conversation_id: id,
    is_done: !isLive(state),
    total_bytes: log.end - bodyStart,
    started_at: Math.floor(startedAt / 1000),
    completed_at: isLive(state) ? 0 : Math.floor(state.at / 1000),
    session,
    end: endOf(state),
    dropped_bytes: Math.max(0, log.start - bodyStart),
    reattached,
    origin: origin ?? null,
  };
}
