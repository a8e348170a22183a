import { describe, expect, it } from "vitest";
import { moved, resent, sentRequests } from "../../../src/conversation/session/record-changes.ts";
import { recordOf } from "../support/records.ts";

const BEFORE = { origin: "attic", originId: "zeroth" };
const FIRST = { origin: "attic", originId: "first" };
const RECORD = recordOf({ ...FIRST, abandoned: [BEFORE], brokenRequests: 1, refusedBy: ["shed"] });

describe("the requests that were sent", () => {
  it("are the abandoned ones and the current one, which is none before an origin is chosen", () => {
    expect(sentRequests(RECORD)).toEqual([BEFORE, FIRST]);
    expect(sentRequests({ ...RECORD, origin: undefined })).toEqual([BEFORE]);
  });
});

describe("a request that is sent again", () => {
  it("to the same origin leaves the one before abandoned, and counts it as broken if it broke", () => {
    expect(resent(RECORD, "second", true)).toEqual({
      originId: "second",
      abandoned: [BEFORE, FIRST],
      brokenRequests: 2,
    });
    expect(resent(RECORD, "second", false).brokenRequests).toBe(1);
  });

  it("to another origin leaves the one before abandoned only if that origin may have it: then it broke", () => {
    const next = { origin: "cellar", originId: "second", refusedBy: ["shed", "attic"] };
    expect(moved(RECORD, "cellar", "second", true)).toEqual({ ...next, abandoned: [BEFORE], brokenRequests: 1 });
    expect(moved(RECORD, "cellar", "second", false)).toEqual({
      ...next,
      abandoned: [BEFORE, FIRST],
      brokenRequests: 2,
    });
  });

  it("to the first origin that is chosen was refused by none", () => {
    expect(moved({ ...RECORD, origin: undefined }, "cellar", "second", true).refusedBy).toEqual(["shed"]);
  });
});
