import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readBody } from "../../../src/request/body.ts";
import { BodyBudget, type BodyShare } from "../../../src/request/body-budget.ts";

const UNBOUNDED: BodyShare = { take() {} };

interface Sender {
  request: Request;
  send(text: string): void;
  end(): void;
  break(): void;
  readonly isCancelled: boolean;
}

/** A request whose body comes when the test says so. */
function sender(headers: Record<string, string> = {}): Sender {
  let body: ReadableByteStreamController | undefined;
  let isCancelled = false;
  const stream = new ReadableStream({
    type: "bytes",
    start(controller) {
      body = controller;
    },
    cancel() {
      isCancelled = true;
    },
  });
  const init = { method: "POST", body: stream, headers, duplex: "half" as const };
  return {
    request: new Request("http://gateway.test/", init),
    send: (text) => body?.enqueue(new TextEncoder().encode(text)),
    end() {
      body?.close();
      body?.byobRequest?.respond(0);
    },
    break: () => body?.error(new Error("Network connection lost.")),
    get isCancelled() {
      return isCancelled;
    },
  };
}

const text = async (body: Promise<Uint8Array>) => new TextDecoder().decode(await body);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a request's body", () => {
  it.each([{}, { "Content-Length": "6" }])("is read whole, with headers %j", async (headers) => {
    const { request, send, end } = sender(headers as Record<string, string>);
    const body = readBody(request, 100, UNBOUNDED);
    send("abc");
    send("def");
    end();
    expect(await text(body)).toBe("abcdef");
  });

  it("of an unknown length grows to any size that is allowed", async () => {
    const whole = "x".repeat(300_000);
    const { request, send, end } = sender();
    const body = readBody(request, 300_000, UNBOUNDED);
    send(whole);
    end();
    expect(await text(body)).toBe(whole);
  });

  it("that is missing is empty", async () => {
    expect(await readBody(new Request("http://gateway.test/"), 100, UNBOUNDED)).toHaveLength(0);
  });

  it("that says it is too long is 413, once what comes of it has been read", async () => {
    const { request, send, end } = sender({ "Content-Length": "101" });
    const body = readBody(request, 100, UNBOUNDED);
    send("x".repeat(101));
    end();
    await expect(body).rejects.toMatchObject({
      status: 413,
      message: "The request body is 101 bytes; the limit is 100 bytes",
    });
  });

  it("that turns out to be too long is 413", async () => {
    const { request, send, end } = sender();
    const body = readBody(request, 100, UNBOUNDED);
    send("x".repeat(101));
    end();
    await expect(body).rejects.toMatchObject({ status: 413, message: /more than 100 bytes/ });
  });

  it("that is refused and goes on without end is read no longer than 10 s", async () => {
    const refused = sender({ "Content-Length": "101" });
    const body = readBody(refused.request, 100, UNBOUNDED);
    const outcome = expect(body).rejects.toMatchObject({ status: 413 });
    await vi.advanceTimersByTimeAsync(9_999);
    expect(refused.isCancelled).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await outcome;
    expect(refused.isCancelled).toBe(true);
  });

  it("without a byte for 60 s is 408", async () => {
    const { request, send } = sender();
    const body = readBody(request, 100, UNBOUNDED);
    const outcome = expect(body).rejects.toMatchObject({ status: 408, message: /^1 bytes .* came in 90 s/ });
    await vi.advanceTimersByTimeAsync(30_000);
    send("x");
    await vi.advanceTimersByTimeAsync(30_000);
    await vi.advanceTimersByTimeAsync(30_000);
    await outcome;
  });

  it("that drips is 408 however steadily it does", async () => {
    const drip = sender();
    const body = readBody(drip.request, 1_000, UNBOUNDED);
    const outcome = expect(body).rejects.toMatchObject({ status: 408, message: /^\d\d bytes .* came in 60 s/ });
    for (let seconds = 0; seconds < 70 && !drip.isCancelled; seconds++) {
      drip.send("x");
      await vi.advanceTimersByTimeAsync(1_000);
    }
    await outcome;
  });

  it("counts as 16 KiB at least, so that the number of bodies is bounded as well", async () => {
    const taken: number[] = [];
    const { request, send, end } = sender({ "Content-Length": "1" });
    const body = readBody(request, 100, { take: (bytes) => void taken.push(bytes) });
    send("x");
    end();
    await body;
    expect(taken).toEqual([16_384]);
  });

  it("that breaks off is 400", async () => {
    const cut = sender({ "Content-Length": "10" });
    const body = readBody(cut.request, 100, UNBOUNDED);
    const outcome = expect(body).rejects.toMatchObject({
      status: 400,
      message: "The request body broke off after 3 bytes",
    });
    cut.send("abc");
    await vi.advanceTimersByTimeAsync(1);
    cut.break();
    await outcome;
  });
});

describe("a tenant's share of memory for bodies", () => {
  it("is for all its requests that are not answered yet, and nobody else's", async () => {
    const budget = new BodyBudget();
    const answered = Promise.withResolvers<void>();
    const first = budget.share("alice", 100, async (share) => {
      share.take(60);
      await answered.promise;
    });
    const ask = (tenant: string) => budget.share(tenant, 100, async (share) => share.take(41));
    await expect(ask("alice")).rejects.toMatchObject({
      status: 429,
      type: "rate_limit_exceeded",
      retryAfterSeconds: 1,
      message: expect.stringContaining("hold 60 bytes of bodies here; 41 more are over the limit of 100 bytes"),
    });
    await ask("bob");
    answered.resolve();
    await first;
    await ask("alice");
  });

  it("comes back when a request fails, too", async () => {
    const budget = new BodyBudget();
    const fail = budget.share("alice", 100, async (share) => {
      share.take(100);
      throw new Error("refused");
    });
    await expect(fail).rejects.toThrow("refused");
    await budget.share("alice", 100, async (share) => share.take(100));
  });
});
