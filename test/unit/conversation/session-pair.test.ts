import { describe, expect, it } from "vitest";
import type { ActiveSession } from "../../../src/conversation/active-session.ts";
import { SessionPair } from "../../../src/conversation/session-pair.ts";
import { EVENTS } from "../support/records.ts";
import { logText } from "../support/session-bench.ts";
import { StoredSessions } from "../support/stored-sessions.ts";

/** A pair, and what its owner hears: of which session, what was current then, and how the session had ended by then. */
function newPair() {
  const sessions = new StoredSessions();
  const heard: unknown[] = [];
  const endOf = ({ state }: ActiveSession) => (state.phase === "ended" ? state.end : state.phase);
  const pair = new SessionPair({
    onEnd: (member) => void heard.push(["ended", member.id, endOf(member), pair.current?.id]),
    onDelete: (member) => void heard.push(["deleted", member.id, endOf(member), pair.current?.id]),
  });
  const begin = (id: string, slot: 0 | 1 = 0) => {
    const member = sessions.create({ start: { id }, slot });
    pair.change({ type: "begun", member });
    return member;
  };
  return { pair, heard, begin };
}

/** The origin has accepted it, and sent something. */
function answer({ session }: ActiveSession): void {
  session.accept(EVENTS);
  session.append(new TextEncoder().encode("data: 1\n\n"), true, 0);
}

describe("the pair of sessions", () => {
  it("says whether a change had effects", () => {
    const { pair, begin } = newPair();
    expect(pair.change({ type: "replacing" })).toBe(false);
    begin("c1");
    expect(pair.change({ type: "stopped", id: "other" })).toBe(false);
    expect(pair.change({ type: "stopped", id: "c1" })).toBe(true);
  });

  it("ends the one that is replaced with an error that its readers see, before its slot is freed", () => {
    const { pair, heard, begin } = newPair();
    const first = begin("c1");
    answer(first);
    pair.change({ type: "replacing" });
    expect(heard).toEqual([["ended", "c1", "replaced", undefined]]);
    expect(first.state).toMatchObject({ end: "replaced", error: { type: "conversation_replaced" } });
    expect(logText(first.session)).toContain("conversation_replaced");
    expect([pair.current, pair.previous]).toEqual([undefined, first]);
  });

  it("ends the one that is stopped without an error, and deletes it after that", () => {
    const { pair, heard, begin } = newPair();
    const first = begin("c1");
    answer(first);
    pair.change({ type: "stopped", id: "c1" });
    expect(heard).toEqual([
      ["ended", "c1", "stopped", undefined],
      ["deleted", "c1", "stopped", undefined],
    ]);
    expect(first.state).toMatchObject({ end: "stopped", error: undefined });
  });

  it("knows the member of a session, current or previous, and of no other", () => {
    const { pair, begin } = newPair();
    const first = begin("c1");
    answer(first);
    pair.change({ type: "replacing" });
    const second = begin("c1::tiny", 1);
    expect([first, second].map(({ session }) => pair.memberOf(session))).toEqual([first, second]);
    pair.change({ type: "accepted", member: second });
    expect(pair.memberOf(first.session)).toBeUndefined();
  });

  it("is what a restart has found", () => {
    const { pair, begin } = newPair();
    const [current, previous] = [begin("c1"), begin("c1", 1)];
    pair.restore(current, previous);
    expect([pair.current, pair.previous]).toEqual([current, previous]);
  });
});
