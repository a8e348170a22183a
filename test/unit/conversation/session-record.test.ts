import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeRecord, encodeRecord, type SessionRecord } from "../../../src/conversation/session/session-record.ts";
import type { EndedState, SessionState } from "../../../src/conversation/session/session-state.ts";
import { FAILURE_CODES } from "../../../src/protocol.ts";
import { EVENTS, endedState, recordOf } from "../support/records.ts";

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Any code point but half a pair. `fc.string({ unit: "binary" })` is the same, but first makes a table of all of them, for a second. */
const codePoint = fc.oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }));
const text = fc.array(codePoint, { maxLength: 10 }).map((points) => String.fromCodePoint(...points));
const ends: EndedState["end"][] = ["done", "stopped", "replaced", ...FAILURE_CODES];

const state: fc.Arbitrary<SessionState> = fc.oneof(
  fc.constant({ phase: "asking" } as const),
  fc.record({ phase: fc.constant("streaming" as const), contentType: text }),
  fc.record({
    phase: fc.constant("ended" as const),
    end: fc.constantFrom(...ends),
    at: fc.nat(),
    contentType: optional(text),
    error: optional(
      fc.record({
        code: fc.nat(),
        message: text,
        type: fc.constantFrom("conversation_replaced" as const, ...FAILURE_CODES),
      }),
    ),
    brokenFrom: optional(fc.nat()),
  }),
);

const record: fc.Arbitrary<SessionRecord> = fc.record({
  session: text,
  originId: text,
  origin: optional(text),
  refusedBy: fc.array(text),
  abandoned: fc.array(fc.record({ origin: text, originId: text })),
  brokenRequests: fc.nat(),
  id: text,
  path: text,
  family: fc.constantFrom("chat" as const, "completions", "completion", "responses", "messages"),
  wantsStream: fc.boolean(),
  idempotencyKey: optional(text),
  bodyHash: text,
  key: text,
  model: optional(text),
  startedAt: fc.nat(),
  reattached: fc.nat(),
  replaced: fc.array(
    fc.record({ bodyHash: text, idempotencyKey: fc.option(text, { nil: undefined }), length: fc.nat(), at: fc.nat() }),
  ),
  state,
});

/** A record as the gateway wrote it that knew no versions yet. */
const VERSION_1 = {
  session: "s1",
  originId: "first",
  abandonedIds: ["zeroth"],
  id: "c1",
  path: "/v1/messages",
  family: "messages",
  wantsStream: true,
  bodyHash: "hash",
  startedAt: 5,
  reattached: 2,
  end: null,
} as const;

const decodeVersion1 = (fields: object) => decodeRecord(JSON.stringify({ ...VERSION_1, ...fields }), 1, "attic");

describe("a session's record", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(record, (written) => {
        expect(decodeRecord(encodeRecord(written), 3, "attic")).toEqual(written);
      }),
      { seed: 8, numRuns: 300 },
    );
  });

  it("loses an error's type that no stored session can have", () => {
    const error = { code: 404, message: "", type: "not_found_error" } as const;
    const { state } = decodeRecord(encodeRecord(recordOf({ state: endedState({ error }) })), 3, "attic");
    expect(state).toMatchObject({ error: { code: 404, type: "server_error" } });
  });

  const good: Record<string, unknown> = JSON.parse(encodeRecord(recordOf({ state: endedState() })));
  it.each([
    ["no object", "7"],
    ["null", "null"],
    ["no JSON", "{"],
    ...[
      "session",
      "originId",
      "refusedBy",
      "abandoned",
      "brokenRequests",
      "id",
      "path",
      "family",
      "bodyHash",
      "startedAt",
    ]
      .concat(["reattached", "replaced", "state"])
      .map((name) => [`without ${name}`, JSON.stringify({ ...good, [name]: undefined })]),
    ["with a family of another gateway", JSON.stringify({ ...good, family: "embeddings" })],
    ["with a number in place of a text", JSON.stringify({ ...good, idempotencyKey: 7 })],
    ["with an unknown phase", JSON.stringify({ ...good, state: { phase: "refused" } })],
    ["with an unknown ending", JSON.stringify({ ...good, state: { phase: "ended", end: "lost", at: 1 } })],
    ["that ended at no time", JSON.stringify({ ...good, state: { phase: "ended", end: "done" } })],
    ["with replaced sessions of no form", JSON.stringify({ ...good, replaced: ["hash"] })],
  ])("is refused: %s", (_, garbage) => {
    expect(() => decodeRecord(garbage ?? "", 3, "attic")).toThrow();
  });
});

it("of version 2 belongs to the one origin that there was", () => {
  const { origin: _, refusedBy: __, abandoned: ___, ...version2 } = recordOf({ state: endedState() });
  const text = JSON.stringify({ ...version2, abandonedIds: ["zeroth"] });
  expect(decodeRecord(text, 2, "attic")).toEqual(
    recordOf({
      state: endedState(),
      origin: "attic",
      refusedBy: [],
      abandoned: [{ origin: "attic", originId: "zeroth" }],
    }),
  );
});

describe("a record of version 1", () => {
  it("before the origin's answer", () => {
    expect(decodeVersion1({})).toEqual(
      recordOf({
        origin: "attic",
        abandoned: [{ origin: "attic", originId: "zeroth" }],
        path: "/v1/messages",
        family: "messages",
        startedAt: 5,
        reattached: 2,
        state: { phase: "asking" },
      }),
    );
  });

  it("in the middle of an answer", () => {
    expect(decodeVersion1({ contentType: EVENTS }).state).toEqual({ phase: "streaming", contentType: EVENTS });
  });

  it.each([...FAILURE_CODES, "done", "replaced"])("that ended as %s", (end) => {
    const ended = decodeVersion1({ contentType: EVENTS, end, completedAt: 9 });
    expect(ended.state).toEqual(endedState({ end: end as EndedState["end"], at: 9 }));
  });

  it("that broke off, and why", () => {
    const error = { code: 502, message: "lost", type: "origin_lost" } as const;
    const lost = decodeVersion1({ contentType: EVENTS, end: "origin_lost", completedAt: 9, error, lostFrom: 70 });
    expect(lost.state).toEqual(endedState({ end: "origin_lost", at: 9, error, brokenFrom: 70 }));
  });

  it("remembers the one request that its session replaced, whose length is not known", () => {
    expect(decodeVersion1({ replacedHash: "older" }).replaced).toEqual([{ bodyHash: "older", length: 0, at: 5 }]);
  });

  it("is written as one of version 3", () => {
    const read = decodeVersion1({ contentType: EVENTS, idempotencyKey: "k" });
    expect(decodeRecord(encodeRecord(read), 3, "cellar")).toEqual(read);
  });

  it("with an ending that is none is refused", () => {
    expect(() => decodeVersion1({ end: "refused", completedAt: 9 })).toThrow("unknown ending");
  });
});
