import { describe, expect, it } from "vitest";
import { isExpired, nextAlarm } from "../../../src/conversation/alarm.ts";
import type { SessionState } from "../../../src/conversation/session/session-state.ts";
import { ApiError } from "../../../src/errors.ts";
import { EVENTS, endedState } from "../support/records.ts";

const TTL_MS = 60_000;
const LIVE: SessionState[] = [{ phase: "asking" }, { phase: "streaming", contentType: EVENTS }];
const OVER: SessionState[] = [
  endedState({ at: 1_000 }),
  { phase: "refused", at: 1_000, failure: new ApiError(502, "origin_unreachable", "") },
];

describe("a conversation's alarm", () => {
  it("beats every 25 s while the session is live, and it never expires", () => {
    for (const state of LIVE) {
      expect(nextAlarm(state, 1e9, TTL_MS)).toBe(1e9 + 25_000);
      expect(isExpired(state, Number.MAX_SAFE_INTEGER, TTL_MS)).toBe(false);
    }
  });

  it("rings when an ended session expires, counted from its end whatever the time", () => {
    for (const state of OVER) {
      expect(nextAlarm(state, 0, TTL_MS)).toBe(61_000);
      expect(nextAlarm(state, 1e9, TTL_MS)).toBe(61_000);
      expect(isExpired(state, 60_999, TTL_MS)).toBe(false);
      expect(isExpired(state, 61_000, TTL_MS)).toBe(true);
    }
  });
});
