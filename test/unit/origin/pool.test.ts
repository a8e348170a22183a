import { beforeEach, describe, expect, it, vi } from "vitest";
import { pause } from "../../../src/clock.ts";
import { OriginPool } from "../../../src/origin/pool.ts";
import { OriginServer } from "../support/origin-servers.ts";
import { SimulatedClock } from "../support/simulated-clock.ts";

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
});

/** Two servers with a model each, which the pool knows. */
async function known() {
  const clock = new SimulatedClock();
  const [attic, cellar] = [new OriginServer(), new OriginServer()];
  attic.serve({ qwen: undefined });
  cellar.serve({ qwen: undefined, gemma: undefined });
  const pool = new OriginPool([attic.config("attic"), cellar.config("cellar")], clock);
  await pool.learn();
  return { clock, attic, cellar, pool };
}

const QWEN = { model: "qwen", key: "k" };

describe("the pool", () => {
  it("of one origin asks nothing", async () => {
    const server = new OriginServer();
    const pool = new OriginPool([server.config("default")], new SimulatedClock());
    expect([pool.isKnown, pool.rank(QWEN), pool.firstName]).toEqual([true, ["default"], "default"]);
    await pool.learn();
    expect(server.requests).toEqual([]);
  });

  it("asks each origin for its models, once in 15 s", async () => {
    const { clock, attic, cellar, pool } = await known();
    expect(pool.isKnown).toBe(true);
    for (let i = 0; i < 14; i++) {
      await pool.learn();
      await clock.advance(1_000);
    }
    expect([attic.asked, cellar.asked]).toEqual([["/v1/models"], ["/v1/models"]]);
    await clock.advance(1_000);
    expect(pool.isKnown).toBe(false);
    await Promise.all(Array.from({ length: 100 }, () => pool.learn()));
    expect([attic.asked.length, cellar.asked.length]).toEqual([2, 2]);
  });

  it("sends a request to an origin that has its model", async () => {
    const { pool } = await known();
    for (let i = 0; i < 20; i++) expect(pool.rank({ model: "gemma", key: `${i}` })).toEqual(["cellar"]);
  });

  it("lets a thousand requests of a new isolate wait for one question", async () => {
    const clock = new SimulatedClock();
    const [attic, cellar] = [new OriginServer(), new OriginServer()];
    const listed = Promise.withResolvers<Response>();
    attic.answer = () => listed.promise;
    cellar.serve({ gemma: undefined });
    const pool = new OriginPool([attic.config("attic"), cellar.config("cellar")], clock);
    let ready = 0;
    const waiting = Array.from({ length: 1_000 }, async () => {
      await pool.learn();
      ready += 1;
    });
    await clock.advance(100);
    expect([ready, attic.requests.length]).toEqual([0, 1]);
    expect(clock.timers).toBeLessThan(1_010);
    listed.resolve(Response.json({ data: [{ id: "qwen" }] }));
    await clock.advance(200);
    await Promise.all(waiting);
    expect([ready, attic.requests.length, cellar.requests.length]).toEqual([1_000, 1, 1]);
    expect(pool.rank(QWEN)).toEqual(["attic"]);
  });

  it("knows every list before the first request goes out, also where its own isolate is too busy to read them", async () => {
    const clock = new SimulatedClock();
    // Each timer comes half a second late, and so does what is read.
    const late = { now: () => clock.now(), after: (ms: number, work: () => void) => clock.after(ms + 500, work) };
    const names = ["attic", "cellar", "shed"];
    const origins = names.map((name, i) => {
      const server = new OriginServer();
      server.answer = async () => {
        await pause(clock, 1_000 + 3_000 * i, new AbortController().signal);
        return Response.json({ data: [{ id: "qwen" }] });
      };
      return server.config(name);
    });
    const pool = new OriginPool(origins, late);
    const firsts: (string | undefined)[] = [];
    const burst = Array.from({ length: 900 }, async (_, i) => {
      await pool.learn();
      firsts.push(pool.rank({ model: "qwen", key: `alice/burst-${i}` })[0]);
    });
    await clock.advance(10_000);
    await Promise.all(burst);
    for (const name of names) {
      const share = firsts.filter((first) => first === name).length;
      // Three standard deviations of 900 throws at a third.
      expect(Math.abs(share - 300), `${name}: ${share}`).toBeLessThan(43);
    }
  });

  it("asks again where the request that asked for the first list was given up with its client", async () => {
    const clock = new SimulatedClock();
    const [attic, cellar] = [new OriginServer(), new OriginServer()];
    attic.answer = () => new Promise<Response>(() => {});
    cellar.serve({ qwen: undefined });
    let isGone = true;
    // A request that is gone has no timers.
    const after = (ms: number, work: () => void) => (isGone ? () => {} : clock.after(ms, work));
    const pool = new OriginPool([attic.config("attic"), cellar.config("cellar")], { now: () => clock.now(), after });
    void pool.learn();
    await clock.advance(10);
    isGone = false;
    attic.serve({ qwen: undefined });
    const second = pool.learn();
    await clock.advance(5_000);
    await second;
    expect(pool.isKnown).toBe(false);
    await pool.learn();
    expect([pool.isKnown, attic.asked]).toEqual([true, ["/v1/models", "/v1/models"]]);
  });

  it("waits two seconds for an origin that does not answer, and takes it for away the second time", async () => {
    const clock = new SimulatedClock();
    const [attic, cellar] = [new OriginServer(), new OriginServer()];
    cellar.serve({ qwen: undefined });
    const pool = new OriginPool([hanging(attic), cellar.config("cellar")], clock);
    let isReady = false;
    const learning = pool.learn().then(() => {
      isReady = true;
    });
    await clock.advance(1_900);
    expect(isReady).toBe(false);
    await clock.advance(200);
    await learning;
    expect(pool.get("attic")?.isAvailable).toBe(true);
    await clock.advance(1_000);
    expect(pool.isKnown).toBe(false);
    const again = pool.learn();
    await clock.advance(2_000);
    await again;
    expect(pool.get("attic")?.isAvailable).toBe(false);
    expect(pool.rank({ model: undefined, key: "k" })).toEqual(["cellar", "attic"]);
  });

  /** Its answers end when the gateway stops waiting, as a fetch does. */
  function hanging(server: OriginServer) {
    const config = server.config("attic");
    const fetch = (_url: string, { signal }: RequestInit = {}) =>
      new Promise<Response>((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
    return { ...config, via: { fetch } };
  }
});

describe("an origin that a request did not reach", () => {
  it("comes last, is asked nothing, and is checked by one request after two seconds", async () => {
    const { clock, attic, pool } = await known();
    attic.die();
    pool.get("attic")?.failed();
    expect(pool.rank({ ...QWEN, last: "attic" })).toEqual(["cellar", "attic"]);
    attic.requests.length = 0;
    for (let i = 0; i < 50; i++) await pool.learn();
    expect(attic.requests).toEqual([]);
    await clock.advance(2_000);
    expect(pool.isKnown).toBe(false);
    const learning = Promise.all(Array.from({ length: 100 }, () => pool.learn()));
    await clock.advance(100);
    await learning;
    // Once, and once more for a connection that the server may just have closed.
    expect(attic.asked).toEqual(["/health", "/health"]);
    expect(pool.rank(QWEN)).toEqual(["cellar", "attic"]);
  });

  it("is there again when the check finds it, and its conversations go back", async () => {
    const { clock, attic, pool } = await known();
    pool.get("attic")?.failed();
    attic.serve({ qwen: undefined });
    await clock.advance(2_000);
    await pool.learn();
    expect(pool.rank({ ...QWEN, last: "attic" })).toEqual(["attic", "cellar"]);
  });

  it.each([
    ["loads its model", () => Response.json({ error: { code: 503, message: "Loading model" } }, { status: 503 })],
    ["is behind a login", () => new Response(null, { status: 302, headers: { Location: "https://login.test" } })],
    ["is behind a tunnel without it", () => new Response("error code: 1033", { status: 530 })],
  ])("is still away while it %s", async (_, health) => {
    const { clock, attic, pool } = await known();
    pool.get("attic")?.failed();
    attic.answer = health;
    await clock.advance(2_000);
    await pool.learn();
    expect(pool.get("attic")?.isAvailable).toBe(false);
  });

  it("is there where it has no such route", async () => {
    const { clock, attic, pool } = await known();
    pool.get("attic")?.failed();
    attic.answer = () => Response.json({ detail: "Not Found" }, { status: 404 });
    await clock.advance(2_000);
    await pool.learn();
    expect(pool.get("attic")?.isAvailable).toBe(true);
  });
});

describe("what the pool learns of an origin", () => {
  const never = new AbortController().signal;

  it("is that it is there, from any answer of its own", async () => {
    const { attic, pool } = await known();
    const origin = pool.get("attic");
    origin?.failed();
    attic.answer = () => Response.json({ error: { code: 400, message: "no" } }, { status: 400 });
    await origin?.generate("/v1/chat/completions", new Uint8Array(), "id", never);
    expect(origin?.isAvailable).toBe(true);
  });

  it("is that it is away, from a request that did not reach it", async () => {
    const { attic, pool } = await known();
    const origin = pool.get("attic");
    attic.answer = () => new Response("error code: 1033", { status: 530 });
    await origin?.generate("/v1/chat/completions", new Uint8Array(), "id", never);
    expect(origin?.isAvailable).toBe(false);
  });

  it("is nothing, from a request that the gateway ended itself", async () => {
    const { attic, pool } = await known();
    const origin = pool.get("attic");
    attic.die();
    await origin?.generate("/v1/chat/completions", new Uint8Array(), "id", AbortSignal.abort());
    expect(origin?.isAvailable).toBe(true);
  });
});

describe("the models of all origins", () => {
  it("are those of the origins that answer", async () => {
    const { clock, attic, pool } = await known();
    expect((await pool.models())?.data).toEqual([
      { id: "qwen", origin: "attic", origins: ["attic", "cellar"] },
      { id: "gemma", origin: "cellar", origins: ["cellar"] },
    ]);
    attic.die();
    const merging = pool.models();
    await clock.advance(100);
    expect((await merging)?.data).toEqual([
      { id: "qwen", origin: "cellar", origins: ["cellar"] },
      { id: "gemma", origin: "cellar", origins: ["cellar"] },
    ]);
  });

  it("are none where no origin answers, or every answer is cut by the bound on its size", async () => {
    const { clock, attic, cellar, pool } = await known();
    attic.die();
    cellar.answer = () => Response.json({ data: [{ id: "x".repeat(3_000_000) }] });
    const merging = pool.models();
    await clock.advance(100);
    expect(await merging).toBeUndefined();
  });
});

describe("the keys of an origin", () => {
  it("go to it, with every request, and to no other", async () => {
    const [attic, cellar] = [new OriginServer(), new OriginServer()];
    attic.serve({});
    cellar.serve({});
    const access = { clientId: "id.access", clientSecret: "hush" };
    const origins = [attic.config("attic", { apiKey: "sk-attic", access }), cellar.config("cellar")];
    const pool = new OriginPool(origins, new SimulatedClock());
    await pool.learn();
    for (const name of pool.names) {
      const origin = pool.get(name);
      await origin?.find("id");
      await origin?.stop("id");
      await origin?.attach("id", 0, new AbortController().signal);
      await origin?.generate("/v1/chat/completions", new Uint8Array(), "id", new AbortController().signal);
    }
    expect(attic.requests.length).toBeGreaterThan(4);
    for (const { headers } of attic.requests) {
      expect(headers.get("Authorization")).toBe("Bearer sk-attic");
      expect(headers.get("CF-Access-Client-Id")).toBe("id.access");
      expect(headers.get("CF-Access-Client-Secret")).toBe("hush");
    }
    for (const { headers } of cellar.requests) {
      expect([...headers.keys()].filter((name) => /^(authorization|cf-)/.test(name))).toEqual([]);
    }
  });
});
