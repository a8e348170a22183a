/** Records of sessions, for tests. */
import type { SessionRecord } from "../../../src/conversation/session/session-record.ts";
import type { SessionState } from "../../../src/conversation/session/session-state.ts";

export const EVENTS = "text/event-stream";

export function recordOf(fields: Partial<SessionRecord> = {}): SessionRecord {
  return {
    session: "s1",
    originId: "first",
    origin: "default",
    refusedBy: [],
    abandoned: [],
    brokenRequests: 0,
    id: "c1",
    path: "/v1/chat/completions",
    family: "chat",
    wantsStream: true,
    idempotencyKey: undefined,
    bodyHash: "hash",
    key: "API_KEYS",
    model: undefined,
    startedAt: 1_700_000_000_000,
    reattached: 0,
    replaced: [],
    state: { phase: "asking" },
    ...fields,
  };
}

export function endedState(fields: Partial<SessionState & { phase: "ended" }> = {}): SessionState & { phase: "ended" } {
  return {
    phase: "ended",
    end: "done",
    at: 1_700_000_060_000,
    contentType: EVENTS,
    error: undefined,
    brokenFrom: undefined,
    ...fields,
  };
}
