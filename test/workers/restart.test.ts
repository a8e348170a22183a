import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { chat, chatBody, ended, lookup, originStats, readUntil, replay, stop, until } from "./client.ts";

const originUrl = env.ORIGIN_URL;
const DONE = "data: [DONE]\n\n";

/** Waits until something of the session is stored, so that the crash leaves something to restore. */
async function storedBytes(id: string): Promise<void> {
  await until("bytes are stored", () =>
    runInDurableObject(env.CONVERSATION.getByName(`alice/${id}`), (_, { storage }) => {
      return Number(storage.sql.exec("SELECT count(*) AS n FROM log WHERE key >= 0").one().n) > 0;
    }),
  );
}

describe("an object that dies in the middle of an answer", () => {
  it("goes on with the next request: same bytes, no second generation", async () => {
    const { generations } = await originStats(originUrl);
    const post = await chat("crash", { tokens: 500, pace_ms: 15 });
    const seen = await readUntil(post, "data: ");
    await storedBytes("crash");
    await abortAllDurableObjects();
    const rest = await (await replay("crash", `from=${new TextEncoder().encode(seen).length}`)).text();
    expect(rest.endsWith(DONE)).toBe(true);
    const whole = seen + rest;
    expect(await (await replay("crash")).text()).toBe(whole);
    const [row] = await lookup(["crash"]);
    expect(row).toMatchObject({ end: "done", reattached: 1, total_bytes: new TextEncoder().encode(whole).length });
    expect((await originStats(originUrl)).generations).toBe(generations + 1);
    expect(new Set(whole.match(/"id":"[^"]+"/g)).size).toBe(1);
  });

  it("comes back by its alarm when no client is there", async () => {
    const post = await chat("alone", { tokens: 100, pace_ms: 15 });
    await post.body?.cancel();
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(env.CONVERSATION.getByName("alice/alone"))).toBe(true);
    await ended("alone", "done");
    expect(await (await replay("alone")).text()).toMatch(/^data: [\s\S]*data: \[DONE\]\n\n$/);
  });

  it("breaks its readers' connections, and does not end them", async () => {
    const post = await chat("broken", { tokens: 10_000, pace_ms: 10 });
    const text = post.text();
    await storedBytes("broken");
    await abortAllDurableObjects();
    await expect(text).rejects.toThrow();
    await stop("broken");
  });

  it("lets a reader wait whose offset is ahead of what was stored", async () => {
    const post = await chat("ahead", { tokens: 500, pace_ms: 15 });
    await storedBytes("ahead");
    const [row] = await lookup(["ahead"]);
    const ahead = (row?.total_bytes as number) + 2_000;
    await post.body?.cancel();
    await abortAllDurableObjects();
    const rest = new Uint8Array(await (await replay("ahead", `from=${ahead}`)).arrayBuffer());
    const whole = new Uint8Array(await (await replay("ahead")).arrayBuffer());
    expect(rest).toEqual(whole.slice(ahead));
  });

  it("keeps its pings at their offsets", async () => {
    const post = chat("pinged", { first_token_ms: 5_000, tokens: 3 });
    const seen = await readUntil(await replayWhenListed("pinged"), ":\n\n");
    await (await post).body?.cancel();
    await abortAllDurableObjects();
    const rest = await (await replay("pinged", `from=${seen.length}`)).text();
    expect(seen + rest).toBe(await (await replay("pinged")).text());
    expect(rest.endsWith(DONE)).toBe(true);
  });

  it("before the origin has answered waits for what it says, and does not ask it again", async () => {
    const { generations } = await originStats(originUrl);
    const post = chat("early", { headers_after_ms: 1_000, tokens: 3 });
    await until("the session is listed", async () => (await lookup(["early"])).length === 1);
    await abortAllDurableObjects();
    await post.catch(() => undefined);
    expect((await (await replay("early")).text()).endsWith(DONE)).toBe(true);
    expect((await originStats(originUrl)).generations).toBe(generations + 1);
  });

  it("tells its readers what the origin said when it refuses the request in the end", async () => {
    const post = chat("declined", { headers_after_ms: 1_000, refuse: { status: 400, message: "too long" } });
    await until("the session is listed", async () => (await lookup(["declined"])).length === 1);
    await abortAllDurableObjects();
    await post.catch(() => undefined);
    expect(await (await replay("declined")).text()).toMatch(/data: {"error":{"code":400,"message":".*too long/);
    expect((await replay("declined")).status).toBe(404);
  });

  it("before the origin got the request asks it then, once", async () => {
    const { generations } = await originStats(originUrl);
    await (await chat("unsent", { tokens: 5 })).text();
    // Back to the moment before the first word to the origin, which knows nothing of this id.
    await runInDurableObject(env.CONVERSATION.getByName("alice/unsent"), (_, { storage: { sql } }) => {
      sql.exec("DELETE FROM log WHERE key >= 0");
      sql.exec(
        "UPDATE log SET record = json_set(record, '$.originId', 'unsent', '$.state', json('{\"phase\":\"asking\"}'))",
      );
      sql.exec("UPDATE log SET data = ?", new TextEncoder().encode(chatBody({ tokens: 7 })));
    });
    await abortAllDurableObjects();
    expect((await (await replay("unsent")).text()).endsWith(DONE)).toBe(true);
    await abortAllDurableObjects();
    await ended("unsent", "done");
    expect((await originStats(originUrl)).generations).toBe(generations + 2);
  });

  it("without stream says interrupted: llama-server keeps no JSON answer to go on with", async () => {
    const post = chat("json", { tokens: 100, pace_ms: 20 }, { fields: { stream: false } });
    await until("the session is listed", async () => (await lookup(["json"])).length === 1);
    await abortAllDurableObjects();
    await post.catch(() => undefined);
    const again = await replay("json");
    expect(again.status).toBe(503);
    expect(await again.json()).toMatchObject({ error: { type: "interrupted" } });
  });

  it("can be stopped at once when it comes back", async () => {
    const { busy_slots } = await originStats(originUrl);
    const post = await chat("stopped", { tokens: 10_000, pace_ms: 10 });
    await post.body?.cancel();
    await abortAllDurableObjects();
    expect((await stop("stopped")).status).toBe(204);
    expect(await lookup(["stopped"])).toEqual([]);
    await until("the slot is free", async () => (await originStats(originUrl)).busy_slots <= busy_slots);
  });
});

async function replayWhenListed(id: string): Promise<Response> {
  await until("the session is listed", async () => (await lookup([id])).length === 1);
  return replay(id);
}
