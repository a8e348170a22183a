import { describe, expect, it } from "vitest";
import { errorResponse } from "../../../src/errors.ts";
import { bodyLimitsOf, keyProblem, leastLeft, type Party, refusalOf } from "../../../src/tenant/limit-rules.ts";
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

describe("of several limits that are reached", () => {
  const window = new SlidingWindow([NOW - 1]);
  const tenant = party({ live: 1, bytes: 1, rpm: 1 }, { who: 'Tenant "alice"', window, live: 1, keptBytes: () => 1 });

  it("that of running answers is named before that of stored bytes, and that before the requests", () => {
    const limited = (limits: Limits) => decide([{ ...tenant, limits }])?.message;
    expect(limited({ live: 1, bytes: 1, rpm: 1 })).toContain("answers running");
    expect(limited({ bytes: 1, rpm: 1 })).toContain("stores 1 bytes");
    expect(limited({ rpm: 1 })).toContain("1 requests within 60 s");
  });

  it("the tenant's is named before the key's", () => {
    expect(decide([tenant, party({ live: 0 })])?.message).toContain('Tenant "alice"');
  });

  it("a limit of 0 is one too", () => {
    expect(decide([party({ bytes: 0 })])?.message).toContain("stores 0 bytes");
    expect(decide([party({ live: 0 })])?.message).toContain("0 answers running");
    expect(decide([party({ rpm: 0 })])?.retryAfter).toBe(60);
  });

  it("no client is told to come back at once", () => {
    expect(decide([party({ bytes: 1 }, { keptBytes: () => 1 })])?.retryAfter).toBe(1);
    expect(decide([party({ bytes: 1 }, { keptBytes: () => 1 })], NOW - 5_000)?.retryAfter).toBe(1);
  });
});

describe("what the Worker is told of limits", () => {
  it("is, for the body, those that somebody set, and whose they are", () => {
    const tenant = party({ models: ["qwen*"], rpm: 1 }, { who: 'Tenant "alice"' });
    expect(bodyLimitsOf([tenant, party({ body: 0 }), party({ live: 1 })])).toEqual([
      { who: 'Tenant "alice"', models: ["qwen*"] },
      { who: 'Key "phone"', body: 0 },
    ]);
  });

  it("is, for the requests per minute, the one with less left", () => {
    const window = new SlidingWindow([NOW]);
    expect(leastLeft([party({ rpm: 9 }), party({ rpm: 3 }, { window }), party({})], NOW)).toMatchObject({
      limit: 3,
      remaining: 2,
    });
    expect(leastLeft([party({ live: 1 })], NOW)).toBeUndefined();
  });
});

describe("a key", () => {
  it("generates only when it holds, and may", () => {
    expect(keyProblem({ name: "phone", scopes: ["read", "generate"] })).toBeUndefined();
    expect(keyProblem({ name: "phone", scopes: ["read"] })?.status).toBe(403);
    expect(keyProblem(undefined)?.status).toBe(401);
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
