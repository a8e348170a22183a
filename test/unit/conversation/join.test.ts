import { describe, expect, it } from "vitest";
import { asReplaced, isReplacedAt, joins, remember } from "../../../src/conversation/join.ts";
import type { StartRequest } from "../../../src/conversation/messages.ts";
import type { SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { ApiError } from "../../../src/errors.ts";
import { FAILURE_CODES } from "../../../src/protocol.ts";
import { EVENTS, endedState, recordOf } from "../support/records.ts";
import { postOf } from "../support/stored-sessions.ts";

/** "join", "begin", or the status and type of the error. */
function decided(post: Partial<StartRequest>, current: SessionRecord | undefined): string {
  const decision = joins(postOf(post), current);
  return decision instanceof ApiError ? `${decision.status} ${decision.type}` : decision;
}

const LIVE = recordOf({ state: { phase: "streaming", contentType: EVENTS } });
const RETRY = { isRetry: true };

describe("a POST", () => {
  it("begins a session where there is none", () => {
    expect(decided(RETRY, undefined)).toBe("begin");
  });

  it("replaces when it is no retry, whatever its body", () => {
    expect(decided({}, LIVE)).toBe("begin");
    expect(decided({ bodyHash: "other" }, LIVE)).toBe("begin");
  });

  it("that is a retry with the same body joins, live or done", () => {
    expect(decided(RETRY, LIVE)).toBe("join");
    expect(decided(RETRY, recordOf())).toBe("join");
    expect(decided(RETRY, recordOf({ state: endedState() }))).toBe("join");
    expect(decided({ ...RETRY, bodyHash: "other" }, LIVE)).toBe("begin");
  });

  it.each([...FAILURE_CODES, "replaced" as const, "stopped" as const])(
    "that is a retry of one that ended as %s begins again",
    (end) => {
      expect(decided(RETRY, recordOf({ state: endedState({ end }) }))).toBe("begin");
    },
  );

  it("joins by its key, and may not change its body under it", () => {
    const current = recordOf({ ...LIVE, idempotencyKey: "k" });
    expect(decided({ idempotencyKey: "k" }, current)).toBe("join");
    expect(decided({ idempotencyKey: "k", bodyHash: "other" }, current)).toBe("422 invalid_request_error");
    expect(decided({ idempotencyKey: "l" }, current)).toBe("begin");
    expect(decided({}, current)).toBe("begin");
    expect(decided({ idempotencyKey: "k" }, LIVE)).toBe("begin");
  });

  it("that is a retry of a question of its own, which was refused before, does not get the answer to the same words", () => {
    const before = { bodyHash: "hash", idempotencyKey: "k" };
    expect(decided({ ...RETRY, idempotencyKey: "l" }, recordOf({ ...before, state: endedState() }))).toBe("begin");
    expect(decided({ ...RETRY, idempotencyKey: "k" }, recordOf({ ...before, state: endedState() }))).toBe("join");
    const replaced = [asReplaced(recordOf(before), 5, 1)];
    expect(decided({ ...RETRY, idempotencyKey: "l" }, recordOf({ bodyHash: "newest", replaced }))).toBe("begin");
  });

  it("of another id or another route joins nothing", () => {
    expect(decided({ ...RETRY, id: "c1::model" }, LIVE)).toBe("begin");
    expect(decided({ ...RETRY, path: "/v1/responses" }, LIVE)).toBe("begin");
    const current = recordOf({ ...LIVE, idempotencyKey: "k" });
    expect(decided({ idempotencyKey: "k", bodyHash: "other", path: "/v1/responses" }, current)).toBe("begin");
  });

  it("that is a retry joins by its words where only one of the two has a key", () => {
    expect(decided(RETRY, recordOf({ ...LIVE, idempotencyKey: "k" }))).toBe("join");
    expect(decided({ ...RETRY, idempotencyKey: "k" }, LIVE)).toBe("join");
  });
});

describe("a late retry of a request that was replaced", () => {
  const current = recordOf({ ...LIVE, bodyHash: "newest", replaced: [{ bodyHash: "hash", length: 5, at: 1 }] });

  it("does not take the conversation back", () => {
    expect(decided(RETRY, current)).toBe("409 conversation_replaced");
    expect(decided({ ...RETRY, idempotencyKey: "k" }, { ...current, idempotencyKey: "k" })).toBe(
      "409 conversation_replaced",
    );
  });

  it("does not either when the newer request names another model, or came on another route", () => {
    expect(decided({ ...RETRY, id: "c1::a" }, { ...current, id: "c1::b" })).toBe("409 conversation_replaced");
    expect(decided({ ...RETRY, id: "c1::a" }, { ...current, id: "c1::b", bodyHash: "hash" })).toBe(
      "409 conversation_replaced",
    );
    expect(decided({ ...RETRY, path: "/v1/responses" }, current)).toBe("409 conversation_replaced");
  });

  it("does not either when only its Idempotency-Key tells that it is one", () => {
    const keyed = recordOf({
      ...LIVE,
      bodyHash: "newest",
      replaced: [asReplaced(recordOf({ idempotencyKey: "k" }), 5, 1)],
    });
    expect(decided({ idempotencyKey: "k" }, keyed)).toBe("409 conversation_replaced");
    expect(decided({ idempotencyKey: "another" }, keyed)).toBe("begin");
    // The same question was asked once more meanwhile, with a key of its own.
    expect(decided({ idempotencyKey: "k" }, { ...keyed, bodyHash: "hash", idempotencyKey: "newer" })).toBe(
      "409 conversation_replaced",
    );
    expect(decided({ idempotencyKey: "newer" }, { ...keyed, bodyHash: "hash", idempotencyKey: "newer" })).toBe("join");
  });

  it("is a new request when the user sends it again, or when it is the current one as well", () => {
    expect(decided({}, current)).toBe("begin");
    expect(decided(RETRY, { ...current, bodyHash: "hash" })).toBe("join");
  });

  it("is known for the newest 256 of them, for as long as an answer is kept", () => {
    const TTL_MS = 1_000;
    let record = recordOf();
    for (let at = 1; at <= 300; at++) {
      const replaced = { bodyHash: `hash ${at}`, length: at, at };
      record = recordOf({ bodyHash: `hash ${at + 1}`, replaced: remember(record.replaced, replaced, at - TTL_MS) });
    }
    const late = (at: number) => decided({ ...RETRY, bodyHash: `hash ${at}` }, record);
    expect(record.replaced).toHaveLength(256);
    expect([late(300), late(45), late(44), late(1)]).toEqual([
      "409 conversation_replaced",
      "409 conversation_replaced",
      "begin",
      "begin",
    ]);
    const later = remember(record.replaced, undefined, 300);
    expect(later).toEqual([{ bodyHash: "hash 300", length: 300, at: 300 }]);
    expect(remember(later, undefined, 301)).toEqual([]);
  });
});

describe("a reader without a fence", () => {
  const record = recordOf({ replaced: [100, 0, 300].map((length) => ({ bodyHash: "", length, at: 1 })) });

  it("that comes back at exactly a replaced session's length means that one", () => {
    expect([100, 300].map((from) => isReplacedAt(record, from))).toEqual([true, true]);
  });

  it("anywhere else reads the current session, and from 0 always", () => {
    expect([0, 99, 101, 400].map((from) => isReplacedAt(record, from))).toEqual([false, false, false, false]);
    expect(isReplacedAt(recordOf(), 100)).toBe(false);
  });
});
