import { describe, expect, it } from "vitest";
import { errorResponse } from "../../../src/errors.ts";
import { type Party, refusalOf } from "../../../src/tenant/limit-rules.ts";
import type { Limits } from "../../../src/tenant/messages.ts";
import { refused } from "../../../src/tenant/refusal.ts";
import { SlidingWindow } from "../../../src/tenant/sliding-window.ts";

const NOW = 1_000_000;

function party(limits: Limits, used: Partial<Party> = {}): Party {
  return { who: 'Key "phone"', limits, window: new SlidingWindow(), live: 0, keptBytes: () => 0, ...used };
}

const decide = (parties: Party[], nextExpiry?: number) => refusalOf(parties, () => nextExpiry, NOW);

describe("a request", () => {
  it("is accepted without limits, and within them", () => {
    expect(decide([party({})])).toBeUndefined();
    expect(decide([party({ live: 2, rpm: 1, bytes: 1 }, { live: 1 })])).toBeUndefined();
  });

  it("is refused when as many answers run as the limit allows", () => {
    expect(decide([party({ live: 2 }, { live: 2 })])).toEqual({
      status: 429,
      message: 'Key "phone" has 2 answers running; the limit is 2 at once',
      retryAfter: 5,
    });
  });

  it("is refused until the oldest request leaves the minute", () => {
    const window = new SlidingWindow([NOW - 59_001, NOW - 1]);
    expect(decide([party({ rpm: 2 }, { window })])).toEqual({
      status: 429,
      message: 'Key "phone" has made 2 requests within 60 s; the limit is 2 per minute',
      retryAfter: 1,
    });
  });

  it("is refused while too much is stored, until something expires", () => {
    const refusal = decide([party({ bytes: 10 }, { keptBytes: () => 10 })], NOW + 90_500);
    expect(refusal).toEqual({
      status: 429,
      message: 'Key "phone" stores 10 bytes of answers; the limit is 10. DELETE some, or wait until they expire',
      retryAfter: 91,
    });
  });

  it("is held to the tenant's limit and the key's", () => {
    const tenant = party({ live: 5 }, { who: 'Tenant "alice"', live: 5 });
    expect(decide([tenant, party({ live: 9 })])?.message).toContain('Tenant "alice"');
    expect(decide([party({ live: 9 }), party({ live: 1 }, { live: 1 })])?.message).toContain('Key "phone"');
  });
});

describe("a refusal", () => {
  it("says that trying again is useless where that is longer than an SDK waits", () => {
    const headersOf = (retryAfter: number) => errorResponse(refused({ status: 429, message: "", retryAfter })).headers;
    expect(headersOf(60).get("Retry-After")).toBe("60");
    expect(headersOf(60).get("X-Should-Retry")).toBeNull();
    expect(headersOf(61).get("X-Should-Retry")).toBe("false");
  });
});
