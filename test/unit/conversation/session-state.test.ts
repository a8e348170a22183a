import { describe, expect, it } from "vitest";
import {
  contentTypeOf,
  endOf,
  isAccepted,
  isLive,
  nextState,
  type SessionEvent,
  type SessionState,
} from "../../../src/conversation/session/session-state.ts";
import { EVENTS, endedState } from "../support/records.ts";

const FAILURE = { status: 400, contentType: "application/json", body: new Uint8Array(0) };
const ERROR = { code: 502, message: "lost", type: "origin_lost" } as const;

const STATES: Record<SessionState["phase"], SessionState> = {
  asking: { phase: "asking" },
  streaming: { phase: "streaming", contentType: EVENTS },
  ended: endedState(),
  refused: { phase: "refused", at: 5, failure: FAILURE },
};

const EVENT: Record<SessionEvent["type"], SessionEvent> = {
  accepted: { type: "accepted", contentType: "application/json" },
  refused: { type: "refused", at: 7, failure: FAILURE },
  ended: { type: "ended", end: "origin_lost", at: 7, error: ERROR, brokenFrom: 3 },
};

const LOST = { phase: "ended", end: "origin_lost", at: 7, error: ERROR, brokenFrom: 3 } as const;

const AFTER: Record<SessionState["phase"], Record<SessionEvent["type"], SessionState | "unchanged">> = {
  asking: {
    accepted: { phase: "streaming", contentType: "application/json" },
    refused: { phase: "refused", at: 7, failure: FAILURE },
    ended: { ...LOST, contentType: undefined },
  },
  streaming: { accepted: "unchanged", refused: "unchanged", ended: { ...LOST, contentType: EVENTS } },
  ended: { accepted: "unchanged", refused: "unchanged", ended: "unchanged" },
  refused: { accepted: "unchanged", refused: "unchanged", ended: "unchanged" },
};

describe("a session's state", () => {
  const pairs = Object.entries(AFTER).flatMap(([phase, row]) => Object.keys(row).map((type) => [phase, type] as const));
  it.each(pairs as [SessionState["phase"], SessionEvent["type"]][])("that is %s, after '%s'", (phase, type) => {
    const before = STATES[phase];
    const after = nextState(before, EVENT[type]);
    const expected = AFTER[phase][type];
    if (expected === "unchanged") expect(after).toBe(before);
    else expect(after).toEqual(expected);
  });

  it("says what a lookup row and an answer say", () => {
    const facts = Object.values(STATES).map((state) => [
      isLive(state),
      isAccepted(state),
      endOf(state),
      contentTypeOf(state),
    ]);
    expect(facts).toEqual([
      [true, false, null, undefined],
      [true, true, null, EVENTS],
      [false, true, "done", EVENTS],
      [false, false, "refused", undefined],
    ]);
  });
});
