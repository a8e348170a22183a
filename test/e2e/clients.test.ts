/**
 * Clients that leave, stall and come back, in front of a real gateway process on raw workerd.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../tools/wait.ts";
import { send } from "../support/http.ts";
import { Random } from "../support/random.ts";
import { chatBody, KEY, Site, withoutPings } from "../support/site.ts";

const DONE = "data: [DONE]\n\n";

let site: Site;

describe("a client that leaves", () => {
  beforeAll(async () => {
    site = await Site.start({ slots: 4, paceMs: 5 });
  });
  afterAll(() => site.close());

  it("at a random byte, by FIN or RST, 50 at once: prefix and rest are what an undisturbed reader gets", async () => {
    const random = new Random();
    console.log(`seed ${random.seed}`);
    const names = Array.from({ length: 50 }, (_, i) => `leaver-${i}`);
    await Promise.all(
      names.map(async (name, i) => {
        const post = await site.chat(name, chatBody(name, 40, { seed: i })).answer;
        const undisturbed = await site.get(`/v1/stream?conv_id=${name}&from=0`).answer;
        await post.readUntil(random.between(1, 6_000), 60_000);
        if (random.next() < 0.5) post.destroy();
        else post.reset();
        await post.closed;
        const rest = await site.replay(name, post.length);
        const whole = await undisturbed.whole(60_000);
        expect(Buffer.concat([post.bytes, rest]).equals(whole), name).toBe(true);
        expect(whole.toString().endsWith(DONE), name).toBe(true);
        expect(withoutPings(whole) === withoutPings(await site.atOrigin(name)), name).toBe(true);
      }),
    );
    expect(await site.origin.generations(40)).toBe(50);
  });

  it("before the first byte, while its request waits for a slot, finds the whole answer on return", async () => {
    const long = Array.from({ length: 4 }, (_, i) => site.chat(`long-${i}`, chatBody(`long-${i}`, 300)));
    await until(async () => (await site.origin.busySlots()) === 4, "all slots are busy");
    const queued = site.chat("queued", chatBody("queued", 20));
    await until(async () => (await site.row("queued"))?.is_done === false, "the queued session is listed");
    queued.destroy();
    const answer = await site.replay("queued");
    expect(answer.toString().endsWith(DONE)).toBe(true);
    await Promise.all(long.map(async (exchange) => (await exchange.answer).whole(60_000)));
  });

  it("on the strict path frees the GPU slot, and nothing is stored", async () => {
    const headers = { authorization: `Bearer ${KEY}` };
    const url = `${site.url}/v1/chat/completions`;
    const strict = await send("POST", url, { headers, body: chatBody("strict", 4_000) }).answer;
    await strict.readUntil("data: ");
    await until(async () => (await site.origin.busySlots()) === 1, "one slot is busy");
    strict.destroy();
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free");
    expect(strict.headers["holdfast-session"]).toBeUndefined();
  });

  it("that stalls delays neither the origin nor another reader", async () => {
    const stalled = send("POST", `${site.url}/v1/chat/completions`, {
      headers: { authorization: `Bearer ${KEY}`, "x-conversation-id": "stall" },
      body: chatBody("stall", 400, { top_logprobs: 20, logprobs: true, demo: { event_bytes: 50_000, pace_ms: 2 } }),
      stalled: true,
    });
    await stalled.answer;
    const reader = await site.get("/v1/stream?conv_id=stall&from=0").answer;
    const other = await reader.whole(60_000);
    expect(other.toString().endsWith(DONE)).toBe(true);
    expect((await site.row("stall"))?.end).toBe("done");
    (await stalled.answer).resume();
    expect((await (await stalled.answer).whole(60_000)).equals(other)).toBe(true);
  });
});

describe("stop", () => {
  beforeAll(async () => {
    site = await Site.start({ slots: 2, paceMs: 5, origins: 1 });
  });
  afterAll(() => site.close());

  it("answers 204 at once and frees the GPU, with clients or without", async () => {
    for (const leave of [false, true]) {
      const post = await site.chat("stop", chatBody("stop", 4_000)).answer;
      await post.readUntil("data: ");
      if (leave) post.destroy();
      await until(async () => (await site.origin.busySlots()) === 1, "the slot is busy");
      expect(await site.stop("stop")).toBe(204);
      await until(async () => (await site.origin.busySlots()) === 0, "the slot is free");
      expect(await site.row("stop")).toBeUndefined();
      if (!leave) expect((await post.whole()).toString().endsWith(": holdfast end=stopped\n\n")).toBe(true);
    }
  });

  it("reaches a request that waits for a slot", async () => {
    const long = [0, 1].map((i) => site.chat(`busy-${i}`, chatBody(`busy-${i}`, 4_000)));
    await until(async () => (await site.origin.busySlots()) === 2, "all slots are busy");
    const queued = site.chat("queued", chatBody("queued", 4_000));
    await until(() => site.row("queued"), "the queued session is listed");
    expect(await site.stop("queued")).toBe(204);
    expect((await (await queued.answer).whole()).toString()).toBe(": holdfast end=stopped\n\n");
    for (const i of [0, 1]) await site.stop(`busy-${i}`);
    await Promise.all(long.map(async (exchange) => (await exchange.answer).whole()));
    await until(async () => (await site.origin.busySlots()) === 0, "no slot is busy");
  });

  it("reaches a prompt that is being processed", async () => {
    const body = chatBody("the sea ".repeat(180), 50, { demo: { first_token_ms: 3_000 } });
    const post = site.chat("prompt", body);
    await until(async () => (await site.origin.busySlots()) === 1, "the prompt is being processed");
    expect(await site.stop("prompt")).toBe(204);
    expect((await (await post.answer).whole()).toString().endsWith(": holdfast end=stopped\n\n")).toBe(true);
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free", 30_000);
  });
});

describe("a long answer", () => {
  afterEach(() => site.close());

  it("of 40 MB keeps its newest 32 MiB, and the runtime's memory stays flat", async () => {
    site = await Site.start({ slots: 2 });
    const more = site.origin.isReal ? { n_probs: 200 } : { demo: { event_bytes: 20_000, pace_ms: 0 } };
    const tokens = 2_400;
    const body = { prompt: "long", n_predict: tokens, stream: true, seed: 1, ...more };
    const headers = { authorization: `Bearer ${KEY}`, "x-conversation-id": "long" };
    const post = send("POST", `${site.url}/completion`, { headers, body });
    let peak = 0;
    await until(
      async () => {
        peak = Math.max(peak, site.residentBytes());
        return (await site.row("long"))?.is_done;
      },
      "the answer is complete",
      100_000,
    );
    const whole = await (await post.answer).whole();
    const row = await site.row("long");
    const start = row?.dropped_bytes ?? 0;
    console.log(`${whole.length} bytes, ${start} dropped, peak memory ${Math.round(peak / 2 ** 20)} MiB`);
    expect(row).toMatchObject({ end: "done", total_bytes: whole.length });
    expect(whole.length).toBeGreaterThan(38_000_000);
    expect(whole.length - start).toBeGreaterThanOrEqual(33_554_432);
    expect((await site.replay("long", start)).equals(whole.subarray(start))).toBe(true);
    expect((await site.replay("long", start + 12_345)).equals(whole.subarray(start + 12_345))).toBe(true);
    const lost = await site.get(`/v1/stream?conv_id=long&from=${start - 1}`).answer;
    expect(lost.status).toBe(400);
    await lost.whole();
    expect(peak).toBeLessThan(400 * 2 ** 20);
  });
});
