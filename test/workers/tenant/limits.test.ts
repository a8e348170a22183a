import {
  abortAllDurableObjects,
  listDurableObjectIds,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { call, chat, chatBody, ended, lookup, originStats, readUntil, replay, stop, until } from "../client.ts";
import { issue, limit, order } from "./owner.ts";

const originUrl = env.ORIGIN_URL;
const ENDLESS = { tokens: 100_000, pace_ms: 20 };

/** A POST on the strict path. */
function strict(key: string, demo: Record<string, unknown>) {
  return call("/v1/chat/completions", { key, method: "POST", body: chatBody(demo) });
}

describe("requests per minute", () => {
  it("are refused above the number, in llama-server's shape, and said on each 200", async () => {
    const key = await issue("rpm", { name: "phone", limits: { rpm: 2 } });
    const first = await chat("a", { tokens: 1 }, { key });
    expect(first.status).toBe(200);
    expect(first.headers.get("x-ratelimit-limit-requests")).toBe("2");
    expect(first.headers.get("x-ratelimit-remaining-requests")).toBe("1");
    expect(first.headers.get("x-ratelimit-reset-requests")).toMatch(/^\d+s$/);
    expect((await strict(key, { tokens: 1 })).headers.get("x-ratelimit-remaining-requests")).toBe("0");
    const third = await strict(key, { tokens: 1 });
    expect(third.status).toBe(429);
    expect(Number(third.headers.get("Retry-After"))).toBeGreaterThan(50);
    expect(third.headers.get("X-Should-Retry")).toBeNull();
    const message = 'Key "phone" has made 2 requests within 60 s; the limit is 2 per minute';
    expect(await third.json()).toEqual({ error: { code: 429, message, type: "rate_limit_exceeded" } });
  });

  it("are counted through a crash of the tenant's object", async () => {
    const key = await issue("rpm-crash", { limits: { rpm: 1 } });
    expect((await chat("a", { tokens: 1 }, { key })).status).toBe(200);
    await abortAllDurableObjects();
    expect((await chat("b", { tokens: 1 }, { key })).status).toBe(429);
  });

  it("do not touch an answer that runs", async () => {
    const key = await issue("rpm-live", { limits: { rpm: 1 } });
    const running = await chat("a", { tokens: 60, pace_ms: 20 }, { key });
    expect((await chat("a", {}, { key })).status).toBe(429);
    expect(await running.text()).toContain("[DONE]");
  });
});

describe("live answers", () => {
  it("are refused above the number, on both paths, and free again when they end", async () => {
    const key = await issue("live", { limits: { live: 2 } });
    const one = await chat("one", ENDLESS, { key });
    const two = await strict(key, ENDLESS);
    expect([one.status, two.status]).toEqual([200, 200]);
    const third = await strict(key, ENDLESS);
    expect(third.status).toBe(429);
    expect(await third.json()).toMatchObject({
      error: { message: 'Key "default" has 2 answers running; the limit is 2 at once' },
    });
    expect((await chat("three", ENDLESS, { key })).status).toBe(429);
    // A client that leaves the strict path ends its answer.
    await two.body?.cancel();
    await until("the strict slot is free", async () => (await chat("three", ENDLESS, { key })).status === 200);
    expect((await stop("one", { key })).status).toBe(204);
    await until("the stopped slot is free", async () => (await chat("four", { tokens: 1 }, { key })).status === 200);
    await stop("three", { key });
  });

  it("of the own conversation use its slot", async () => {
    await limit("bob", { live: 1 });
    const key = "key-of-bob-for-tests";
    const first = await chat("own", ENDLESS, { key });
    await readUntil(first, "data: ");
    expect((await chat("other", ENDLESS, { key })).status).toBe(429);
    expect((await chat("own", { tokens: 1 }, { key })).status).toBe(200);
    await until("the slot is free", async () => (await chat("other", { tokens: 1 }, { key })).status === 200);
    await limit("bob", { live: null });
  });

  it("never become more at the origin than the number, of 60 requests at once", async () => {
    const key = await issue("burst", { limits: { live: 3 } });
    const { open_requests } = await originStats(originUrl);
    const posts = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (i % 2 ? chat(`burst-${i}`, ENDLESS, { key }) : strict(key, ENDLESS))),
    );
    const accepted = posts.filter(({ status }) => status === 200);
    expect(accepted).toHaveLength(3);
    expect(posts.filter(({ status }) => status === 429)).toHaveLength(57);
    expect((await originStats(originUrl)).open_requests - open_requests).toBe(3);
    await Promise.all(accepted.map(({ body }) => body?.cancel()));
    await Promise.all(Array.from({ length: 60 }, (_, i) => stop(`burst-${i}`, { key })));
  });

  it("of objects that died are asked, and the slot of what has ended meanwhile is given away", async () => {
    const key = await issue("died", { limits: { live: 1 } });
    const post = await chat("died", { tokens: 50, pace_ms: 15 }, { key });
    await readUntil(post, "data: ");
    await abortAllDurableObjects();
    expect((await chat("next", { tokens: 1 }, { key })).status).toBe(429);
    await until("the answer has ended", async () => (await lookup(["died"], { key }))[0]?.end === "done");
    await until("the slot is free", async () => (await chat("next", { tokens: 1 }, { key })).status === 200);
  });
});

describe("models and bodies", () => {
  it("that are not allowed are refused, and give the slot back", async () => {
    const key = await issue("models", { limits: { models: ["qwen*", "tiny"], body: 500, live: 1 } });
    const other = await chat("a", {}, { key, fields: { model: "big" } });
    expect(other.status).toBe(403);
    expect(await other.json()).toEqual({
      error: {
        code: 403,
        message: 'The model "big" is not allowed; Key "default" may use qwen*, tiny',
        type: "permission_error",
      },
    });
    expect((await chat("a", {}, { key })).status).toBe(403);
    const long = await chat("a", {}, { key, fields: { model: "tiny", user: "x".repeat(500) } });
    expect(long.status).toBe(413);
    expect(await long.json()).toMatchObject({ error: { type: "payload_too_large" } });
    await until("the slot is free", async () => {
      return (await chat("a", { tokens: 1 }, { key, fields: { model: "qwen3" } })).status === 200;
    });
  });
});

describe("stored bytes", () => {
  it("are refused above the number, until they are deleted", async () => {
    const key = await issue("stored", { limits: { bytes: 1 } });
    expect(await (await chat("a", { tokens: 3 }, { key })).text()).toContain("[DONE]");
    await until("the answer is counted", async () => (await chat("b", { tokens: 1 }, { key })).status === 429);
    const refused = await chat("b", { tokens: 1 }, { key });
    expect(refused.headers.get("X-Should-Retry")).toBe("false");
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_exceeded" } });
    await stop("a", { key });
    expect((await chat("b", { tokens: 1 }, { key })).status).toBe(200);
  });
});

describe("the index", () => {
  it("finds what lives, what has ended and nothing else, and asks no object that it does not name", async () => {
    const key = await issue("index");
    await (await chat("ended", { tokens: 1 }, { key })).text();
    await (await chat("variant::tiny", { tokens: 1 }, { key })).text();
    await chat("live", ENDLESS, { key });
    const count = async () => (await env.CONVERSATION.getByName("index/ended").standing()).bytes;
    expect(await count()).toBeGreaterThan(0);
    const rows = await lookup(["live", "none", "ended", "variant", "ended", "", 7, "variant::tiny", "variant::b"], {
      key,
    });
    expect(rows.map(({ conversation_id, is_done }) => [conversation_id, is_done])).toEqual([
      ["live", false],
      ["ended", true],
      ["variant::tiny", true],
      ["ended", true],
      ["variant::tiny", true],
    ]);
    await stop("live", { key });
    await stop("ended", { key });
    expect(await lookup(["live", "ended"], { key })).toEqual([]);
  });

  it("says of an ended session what its conversation says", async () => {
    await (await chat("same", { tokens: 5 })).text();
    await ended("same", "done");
    const [row] = await lookup(["same"]);
    const [said] = await env.CONVERSATION.getByName("alice/same").lookup(["same"]);
    expect(row).toEqual(said);
  });

  it("finds 40 of 5,000 ids", async () => {
    const key = await issue("many");
    const names = Array.from({ length: 5_000 }, (_, i) => `c-${i}`);
    for (const name of names.slice(0, 40)) await (await chat(name, { tokens: 1 }, { key })).text();
    await until("the last row is there", async () => (await lookup([names[39]], { key }))[0]?.end === "done");
    expect(await lookup(names, { key })).toHaveLength(40);
  });

  it("heals by the tenant's alarm when its object lost what a session said", async () => {
    const key = await issue("heal");
    await (await chat("heal", { tokens: 1 }, { key })).text();
    await until("the row is there", async () => (await lookup(["heal"], { key })).length === 1);
    const tenant = env.TENANT.getByName("heal");
    // As if the beginning had come and the end had not.
    await runInDurableObject(tenant, (object) =>
      object.renewed({ conversation: "heal", session: "lost", key: "default", startedAt: 1, bytes: 0 }),
    );
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(env.TENANT.getByName("heal"))).toBe(true);
    expect((await env.TENANT.getByName("heal").lookup(["heal"])).live).toEqual([]);
    expect(await lookup(["heal"], { key })).toMatchObject([{ end: "done" }]);
  });

  it("is asked first by a tenant that named 100 conversations that are not there", async () => {
    const key = await issue("guess");
    await (await chat("known", { tokens: 1 }, { key })).text();
    await until("the row is there", async () => (await lookup(["known"], { key })).length === 1);
    for (let i = 0; i < 100; i++) expect((await replay(`guess-${i}`, "from=0", { key })).status).toBe(404);
    const before = (await listDurableObjectIds(env.CONVERSATION)).length;
    for (let i = 0; i < 50; i++) {
      expect((await replay(`more-${i}`, "from=0", { key })).status).toBe(404);
      expect((await stop(`more-${i}`, { key })).status).toBe(204);
    }
    expect(await listDurableObjectIds(env.CONVERSATION)).toHaveLength(before);
    expect((await replay("known", "from=0", { key })).status).toBe(200);
  });
});

describe("usage", () => {
  it("is counted per model and key, and strict answers as unknown", async () => {
    const key = await issue("usage", { name: "phone" });
    await (await chat("a", { tokens: 5 }, { key, fields: { model: "qwen" } })).text();
    // A POST is sent once: on a connection that the origin has just closed it is a 502.
    await until("the strict path answers", async () => {
      const answer = await strict(key, { tokens: 5 });
      await answer.text();
      return answer.status === 200;
    });
    await chat("b", ENDLESS, { key });
    await stop("b", { key });
    const page = async () => (await call("/v1/usage?group_by[]=api_key_id&limit=1", { key })).json<UsagePage>();
    await until("all are counted", async () => (await page()).data[0]?.results[0]?.num_model_requests === 3);
    const [bucket] = (await page()).data;
    expect(bucket?.results).toMatchObject([
      { api_key_id: "phone", unknown_requests: 2, ends: { done: 1, strict: 1, stopped: 1 } },
    ]);
    expect(bucket?.results[0]?.output_tokens).toBeGreaterThan(0);
    const all = await (await order("GET", "/usage?group_by[]=user_id&limit=1")).json<UsagePage>();
    expect(all.data[0]?.results).toEqual(
      expect.arrayContaining([expect.objectContaining({ user_id: "usage", num_model_requests: 3 })]),
    );
  });
});

interface UsagePage {
  data: { results: Record<string, number>[] }[];
}
