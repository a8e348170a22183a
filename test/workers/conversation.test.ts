import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { call, chat, ended, lookup, originStats, readUntil, replay, stop, until } from "./client.ts";

const originUrl = env.ORIGIN_URL;
const DONE = "data: [DONE]\n\n";

function object(name: string) {
  return env.CONVERSATION.getByName(name);
}

/** What an object has stored: its tables and its alarm. */
function stored(name: string): Promise<{ tables: number; alarm: number | null }> {
  return runInDurableObject(object(name), async (_, { storage }) => ({
    tables: storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'").toArray()
      .length,
    alarm: await storage.getAlarm(),
  }));
}

describe("a session", () => {
  it("replays what the POST client got, from every offset", async () => {
    const whole = await (await chat("replay", { tokens: 5 })).text();
    expect(whole.endsWith(DONE)).toBe(true);
    const bytes = new TextEncoder().encode(whole);
    for (let from = 0; from <= bytes.length + 1; from += 97) {
      const rest = new Uint8Array(await (await replay("replay", `from=${from}`)).arrayBuffer());
      expect(rest).toEqual(bytes.slice(from));
    }
  });

  it("goes on when its client leaves, and gives the rest from the byte where it left", async () => {
    const part = await readUntil(await chat("leaves", { tokens: 50 }), "data: ");
    const rest = await (await replay("leaves", `from=${new TextEncoder().encode(part).length}`)).text();
    expect(rest.endsWith(DONE)).toBe(true);
    expect(part + rest).toBe(await (await replay("leaves")).text());
    await ended("leaves", "done");
  });

  it("is there before the origin has answered, and a reader gets pings meanwhile", async () => {
    const post = chat("queued", { headers_after_ms: 4_000, tokens: 2 });
    await until("the session is listed", async () => (await lookup(["queued"]))[0]?.end === null);
    const read = await (await replay("queued")).text();
    expect(read.startsWith(":\n\n")).toBe(true);
    expect(read.endsWith(DONE)).toBe(true);
    expect(await (await post).text()).toBe(read);
  });

  it("survives the eviction of its object once it has ended", async () => {
    const whole = await (await chat("evicted", { tokens: 30 })).text();
    const [before] = await lookup(["evicted"]);
    await evictDurableObject(object("alice/evicted"));
    expect(await (await replay("evicted")).text()).toBe(whole);
    await abortAllDurableObjects();
    expect(await (await replay("evicted")).text()).toBe(whole);
    expect(await lookup(["evicted"])).toEqual([before]);
  });

  it("keeps the newest bytes of a long answer, and says which offsets are lost", async () => {
    const response = await chat("long", { tokens: 400, event_bytes: 1_000, pace_ms: 1 });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const [row] = await lookup(["long"]);
    const start = row?.dropped_bytes as number;
    expect(row?.total_bytes).toBe(bytes.length);
    expect(bytes.length - start).toBeGreaterThanOrEqual(262_144);
    expect(bytes.length - start).toBeLessThan(262_144 + 2 * 65_536);
    const kept = new Uint8Array(await (await replay("long", `from=${start}`)).arrayBuffer());
    expect(kept).toEqual(bytes.slice(start));
    const lost = await replay("long", `from=${start - 1}`);
    expect(lost.status).toBe(400);
    expect(await lost.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  it("that the origin ends without its terminator is not passed off as complete", async () => {
    const text = await (await chat("cut", { tokens: 3, ending: "truncate" })).text();
    expect(text).toContain('"type":"origin_truncated"');
    await ended("cut", "origin_truncated");
  });

  it("that the origin ends with an error event of its own is over as the origin said", async () => {
    const text = await (await chat("error", { tokens: 3, ending: "error" })).text();
    expect(text).toMatch(/data: {"error":.*}\n\n$/);
    await ended("error", "done");
  });
});

describe("an object", () => {
  it("that was only asked stores nothing", async () => {
    expect((await replay("nobody")).status).toBe(404);
    expect(await lookup(["nobody"])).toEqual([]);
    expect((await stop("nobody")).status).toBe(204);
    expect(await stored("alice/nobody")).toEqual({ tables: 0, alarm: null });
  });

  it("is empty after its session's TTL", async () => {
    await (await chat("expires", { tokens: 3 })).text();
    await ended("expires", "done");
    const { alarm } = await stored("alice/expires");
    expect(alarm).toBeGreaterThan(Date.now() + 3_500_000);
    await runInDurableObject(object("alice/expires"), (_, { storage }) => {
      storage.sql.exec("UPDATE log SET record = json_set(record, '$.state.at', 0)");
    });
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(object("alice/expires"))).toBe(true);
    expect((await replay("expires")).status).toBe(404);
    expect(await stored("alice/expires")).toEqual({ tables: 0, alarm: null });
  });

  it("that cannot store breaks its readers' connections, says interrupted, and frees the GPU", async () => {
    const { busy_slots } = await originStats(originUrl);
    const post = await chat("full", { tokens: 10_000, pace_ms: 5 });
    const text = post.text();
    await until("there are bytes", async () => ((await lookup(["full"]))[0]?.total_bytes as number) > 1_000);
    await runInDurableObject(object("alice/full"), (_, { storage }) => {
      storage.sql.exec("ALTER TABLE log RENAME TO gone");
    });
    await expect(text).rejects.toThrow();
    expect((await lookup(["full"]))[0]?.end).toBe("interrupted");
    await until("the slot is free", async () => (await originStats(originUrl)).busy_slots <= busy_slots);
  });

  it("has its alarm beating while the session is live", async () => {
    const post = await chat("beats", { tokens: 2, ending: "hang" });
    const { alarm } = await stored("alice/beats");
    expect(alarm).toBeLessThan(Date.now() + 30_000);
    expect(await runDurableObjectAlarm(object("alice/beats"))).toBe(true);
    expect((await stored("alice/beats")).alarm).not.toBeNull();
    await stop("beats");
    await post.text();
  });
});

describe("stop", () => {
  it("ends every reader cleanly, frees the GPU and leaves nothing behind", async () => {
    const before = await originStats(originUrl);
    const post = await chat("stopped", { tokens: 10_000, pace_ms: 10 });
    const reader = await replay("stopped");
    expect((await stop("stopped")).status).toBe(204);
    const [posted, read] = await Promise.all([post.text(), reader.text()]);
    expect(posted.endsWith(": holdfast end=stopped\n\n")).toBe(true);
    expect(read).toBe(posted);
    expect((await replay("stopped")).status).toBe(404);
    expect(await lookup(["stopped"])).toEqual([]);
    expect((await stop("stopped")).status).toBe(204);
    await until("the slot is free", async () => (await originStats(originUrl)).busy_slots === before.busy_slots);
    await until("nothing is stored", async () => (await stored("alice/stopped")).tables === 0);
    expect(await stored("alice/stopped")).toEqual({ tables: 0, alarm: null });
  });

  it("reaches a request that still waits at the origin", async () => {
    const post = chat("stopped early", { headers_after_ms: 1_000, tokens: 10_000, pace_ms: 10 });
    await until("the session is listed", async () => (await lookup(["stopped early"])).length === 1);
    const { busy_slots } = await originStats(originUrl);
    expect((await stop("stopped early")).status).toBe(204);
    expect(await (await post).text()).toBe(": holdfast end=stopped\n\n");
    await until("no slot was taken", async () => (await originStats(originUrl)).busy_slots <= busy_slots);
  });

  it("of a request that the origin has not answered gives the session before back, if that bears another id", async () => {
    const whole = await (await chat("back::a", { tokens: 3 })).text();
    const post = chat("back::b", { headers_after_ms: 2_000, tokens: 3 });
    await until("the new session is listed", async () => (await lookup(["back::b"])).length === 1);
    expect((await stop("back::b")).status).toBe(204);
    await (await post).text();
    expect(await (await replay("back::a")).text()).toBe(whole);
    expect((await replay("back::b")).status).toBe(404);
  });

  it("is not reached by a path that only decodes to its own", async () => {
    await (await chat("m", { tokens: 3 })).text();
    expect((await call("/v1/%73tream?conv_id=foo", { method: "DELETE" })).status).toBe(404);
    expect((await replay("m")).status).toBe(200);
  });

  it("takes exactly the id it names", async () => {
    const post = await chat("exact::tiny", { tokens: 20 });
    expect((await stop("exact")).status).toBe(204);
    expect((await post.text()).endsWith(DONE)).toBe(true);
    expect((await replay("exact")).status).toBe(404);
    expect((await lookup(["exact"]))[0]).toMatchObject({ conversation_id: "exact::tiny", end: "done" });
  });
});

describe("a stop that names a session", () => {
  it("stops that session", async () => {
    const live = await chat("fenced stop", { tokens: 10_000, pace_ms: 10 });
    const session = live.headers.get("Holdfast-Session") ?? "";
    expect((await stop("fenced stop", { session })).status).toBe(204);
    expect((await live.text()).endsWith(": holdfast end=stopped\n\n")).toBe(true);
  });

  it("does not touch a newer one, and says which it is", async () => {
    const first = await chat("late stop", { tokens: 10_000, pace_ms: 10 });
    const session = first.headers.get("Holdfast-Session") ?? "";
    const second = await chat("late stop", { tokens: 20 }, { fields: { seed: 2 } });
    const late = await stop("late stop", { session });
    expect(late.status).toBe(409);
    expect(await late.json()).toMatchObject({
      error: {
        type: "conversation_replaced",
        message: expect.stringContaining(second.headers.get("Holdfast-Session") ?? "none"),
      },
    });
    await first.text();
    expect((await second.text()).endsWith(DONE)).toBe(true);
  });
});

describe("a second POST", () => {
  it("replaces the live session, whose readers are told", async () => {
    const first = await chat("twice", { tokens: 10_000, pace_ms: 10 });
    const second = await chat("twice", { tokens: 3 }, { fields: { seed: 2 } });
    const told = await first.text();
    expect(told).toMatch(/"type":"conversation_replaced"}}\n\n$/);
    expect(told).not.toContain("[DONE]");
    const whole = await second.text();
    expect(await (await replay("twice")).text()).toBe(whole);
    expect(second.headers.get("Holdfast-Session")).not.toBe(first.headers.get("Holdfast-Session"));
  });

  it("of the same conversation with another model replaces it as well", async () => {
    const first = await chat("models::a", { tokens: 10_000, pace_ms: 10 });
    await (await chat("models::b", { tokens: 3 })).text();
    expect(await first.text()).toContain("conversation_replaced");
    expect((await replay("models::a")).status).toBe(404);
    expect((await lookup(["models"])).map((row) => row.conversation_id)).toEqual(["models::b"]);
  });

  it("that the origin refuses leaves the first one's bytes replayable", async () => {
    const first = await chat("refused", { tokens: 10_000, pace_ms: 10 });
    await until("there are bytes", async () => ((await lookup(["refused"]))[0]?.total_bytes as number) > 1_000);
    const second = await chat("refused", {}, { fields: { temperature: "hot" } });
    expect(second.status).toBe(400);
    expect(await second.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
    const told = await first.text();
    expect(told).toContain("conversation_replaced");
    expect(await (await replay("refused")).text()).toBe(told);
    expect((await lookup(["refused"]))[0]?.end).toBe("replaced");
    await abortAllDurableObjects();
    expect(await (await replay("refused")).text()).toBe(told);
  });

  it("that cannot be read at all does not touch the live session", async () => {
    const first = await chat("untouched", { tokens: 30 });
    const bad = { method: "POST", headers: { "X-Conversation-Id": "untouched" } };
    for (const body of ["{bad", "", "[]", '{"stream":true}', '{"messages":"hi"}']) {
      expect((await chat("untouched", {}, { ...bad, body })).status).toBe(400);
    }
    expect((await first.text()).endsWith(DONE)).toBe(true);
  });

  it("fences off a client that asks for the session of before", async () => {
    const first = await chat("fenced", { tokens: 2 });
    const session = first.headers.get("Holdfast-Session");
    await first.text();
    expect((await replay("fenced", `from=0&session=${session}`)).status).toBe(200);
    await (await chat("fenced", { tokens: 2 }, { fields: { seed: 2 } })).text();
    const fenced = await replay("fenced", `from=0&session=${session}`);
    expect(fenced.status).toBe(409);
    expect(await fenced.json()).toMatchObject({ error: { type: "conversation_replaced" } });
  });

  it("keeps its bytes from a reader of the first that comes back, without a fence, where that ended", async () => {
    const first = await chat("two pages", { tokens: 10_000, pace_ms: 10 });
    const seen = first.text();
    await until("there are bytes", async () => Number((await lookup(["two pages"]))[0]?.total_bytes) > 0);
    const second = await chat("two pages", { tokens: 40 }, { fields: { seed: 2 } });
    const length = new TextEncoder().encode(await seen).length;
    const back = await replay("two pages", `from=${length}`);
    expect(back.status).toBe(409);
    expect(await back.json()).toMatchObject({ error: { type: "conversation_replaced" } });
    const whole = await second.text();
    expect(await (await replay("two pages", "from=10")).text()).toBe(whole.slice(10));
  });

  it("that cannot be stored is an error, and leaves no session behind", async () => {
    await (await chat("unstorable", { tokens: 2 })).text();
    await runInDurableObject(object("alice/unstorable"), (_, { storage }) => {
      storage.sql.exec("ALTER TABLE log RENAME COLUMN data TO gone");
    });
    expect((await chat("unstorable", { tokens: 3 })).status).toBe(500);
    expect((await lookup(["unstorable"])).filter(({ is_done }) => !is_done)).toEqual([]);
  });

  it("at the same time: the last one wins", async () => {
    const generations = (await originStats(originUrl)).generations;
    const posts = await Promise.all(
      Array.from({ length: 8 }, (_, i) => chat("race", { tokens: 40, pace_ms: 10 }, { fields: { seed: i } })),
    );
    const texts = await Promise.all(posts.map((post) => post.text()));
    expect(texts.filter((text) => text.endsWith(DONE))).toHaveLength(1);
    expect(texts.filter((text) => text.includes("conversation_replaced"))).toHaveLength(7);
    expect(await (await replay("race")).text()).toBe(texts.find((text) => text.endsWith(DONE)));
    expect((await originStats(originUrl)).busy_slots).toBe(0);
    expect((await originStats(originUrl)).generations - generations).toBeLessThanOrEqual(8);
  });
});

describe("a retry of the same request", () => {
  it.each([
    ["the same Idempotency-Key", { "Idempotency-Key": "k-1" }, { "Idempotency-Key": "k-1" }],
    ["an SDK's retry count and the same body", {}, { "X-Stainless-Retry-Count": "1" }],
  ])("joins the live session by %s", async (how, firstHeaders, retryHeaders) => {
    const id = `joined by ${how}`;
    const { generations } = await originStats(originUrl);
    const first = await chat(id, { tokens: 30 }, { headers: firstHeaders as Record<string, string> });
    const retry = await chat(id, { tokens: 30 }, { headers: retryHeaders as Record<string, string> });
    expect(retry.headers.get("Holdfast-Session")).toBe(first.headers.get("Holdfast-Session"));
    expect(await retry.text()).toBe(await first.text());
    const late = await chat(id, { tokens: 30 }, { headers: retryHeaders as Record<string, string> });
    expect(late.headers.get("Holdfast-Session")).toBe(first.headers.get("Holdfast-Session"));
    expect((await originStats(originUrl)).generations).toBe(generations + 1);
  });

  it("that was replaced meanwhile does not end the newer one", async () => {
    const first = await chat("overtaken", { tokens: 10_000, pace_ms: 10 });
    const second = await chat("overtaken", { tokens: 40, pace_ms: 10 }, { fields: { seed: 2 } });
    await first.text();
    const retry = { headers: { "X-Stainless-Retry-Count": "1" } };
    const late = await chat("overtaken", { tokens: 10_000, pace_ms: 10 }, retry);
    expect(late.status).toBe(409);
    expect(late.headers.get("X-Should-Retry")).toBe("false");
    expect((await second.text()).endsWith(DONE)).toBe(true);
  });

  it("of a request that was replaced two requests ago does not end the newest one", async () => {
    const posts = [];
    for (const seed of [1, 2, 3])
      posts.push(await chat("overtaken twice", { tokens: 200, pace_ms: 10 }, { fields: { seed } }));
    const retry = { headers: { "X-Stainless-Retry-Count": "1" }, fields: { seed: 1 } };
    const late = await chat("overtaken twice", { tokens: 200, pace_ms: 10 }, retry);
    expect(late.status).toBe(409);
    const texts = await Promise.all(posts.map((post) => post.text()));
    expect(texts.map((text) => text.endsWith(DONE))).toEqual([false, false, true]);
  });

  it("is none when the body is another", async () => {
    const first = await chat("not joined", { tokens: 2 }, { headers: { "Idempotency-Key": "k-2" } });
    await first.text();
    const other = await chat("not joined", { tokens: 3 }, { headers: { "Idempotency-Key": "k-2" } });
    expect(other.status).toBe(422);
    const retried = await chat("not joined", { tokens: 3 }, { headers: { "X-Stainless-Retry-Count": "1" } });
    expect(retried.headers.get("Holdfast-Session")).not.toBe(first.headers.get("Holdfast-Session"));
  });
});

describe("without stream", () => {
  const fields = { stream: false };

  it("the finished JSON stays collectable", async () => {
    const post = await chat("json", { tokens: 5 }, { fields });
    expect(post.headers.get("Content-Type")).toMatch(/^application\/json/);
    const json = await post.text();
    const again = await replay("json");
    expect(again.headers.get("Content-Type")).toMatch(/^application\/json/);
    expect(await again.text()).toBe(json);
  });

  it("a client that asks again while the answer is made waits for it", async () => {
    const post = chat("json later", { tokens: 5, pace_ms: 50 }, { fields });
    await until("the session is listed", async () => (await lookup(["json later"])).length === 1);
    expect(await (await replay("json later")).text()).toBe(await (await post).text());
  });

  it("a client that waits for the answer is told of the origin's refusal", async () => {
    const refuse = { status: 422, message: "as asked" };
    const post = chat("json refused", { headers_after_ms: 1_000, refuse }, { fields });
    await until("the session is listed", async () => (await lookup(["json refused"])).length === 1);
    const waiting = await replay("json refused");
    expect(waiting.status).toBe(422);
    expect(await waiting.text()).toBe(await (await post).text());
  });

  it("a stop or a replacement is an error that no SDK retries", async () => {
    const stopped = chat("json stopped", { tokens: 500, pace_ms: 20 }, { fields });
    await until("the session is listed", async () => (await lookup(["json stopped"])).length === 1);
    await stop("json stopped");
    expect((await stopped).status).toBe(409);
    expect((await stopped).headers.get("X-Should-Retry")).toBe("false");
  });
});

describe("tenants", () => {
  it("do not see each other's conversations, live or finished", async () => {
    const bob = { key: "key-of-bob-for-tests" };
    const live = await chat("private", { tokens: 40 });
    for (const state of ["live", "finished"]) {
      expect((await replay("private", "from=0", bob)).status, state).toBe(404);
      expect(await lookup(["private"], bob), state).toEqual([]);
      expect((await stop("private", bob)).status, state).toBe(204);
      if (state === "live") expect((await live.text()).endsWith(DONE)).toBe(true);
    }
    expect((await replay("private")).status).toBe(200);
  });
});
