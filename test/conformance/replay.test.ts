import { afterEach, describe, expect, inject, it } from "vitest";
import { Client, expectBeginning, expectSameBytes, freshId, streamPath, text } from "./client.ts";
import { onEach } from "./differences.ts";

const DONE = "data: [DONE]\n\n";

/** Every generating route: its body, and how its stream ends. */
const ROUTES: ReadonlyArray<{ path: string; body: Record<string, unknown>; ends: RegExp }> = [
  { path: "/v1/chat/completions", body: { messages: [], max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/chat/completions", body: { messages: [], max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/v1/completions", body: { prompt: "hi", max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/completion", body: { prompt: "hi", n_predict: 9 }, ends: /"stop":true.*\n\n$/ },
  { path: "/completions", body: { prompt: "hi", n_predict: 9 }, ends: /"stop":true.*\n\n$/ },
  { path: "/infill", body: { input_prefix: "a", input_suffix: "b", n_predict: 9 }, ends: /"stop":true.*\n\n$/ },
  { path: "/v1/responses", body: { input: "hi", max_output_tokens: 9 }, ends: /event: response\.completed\n.*\n\n$/ },
  { path: "/responses", body: { input: "hi", max_output_tokens: 9 }, ends: /event: response\.completed\n.*\n\n$/ },
  { path: "/v1/messages", body: { messages: [], max_tokens: 9 }, ends: /event: message_stop\n.*\n\n$/ },
];

describe.each(inject("targets"))("replay on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  it("a replay is the POST's body, byte for byte, with the same headers", async () => {
    const id = freshId();
    const post = await client.post(client.short(), { id });
    const body = await post.whole();
    expect(body.toString()).toMatch(/^data: \{.*\n\ndata: \[DONE\]\n\n$/s);
    const replay = await client.replay(id);
    expectSameBytes(await replay.whole(), body);
    for (const answer of [post, replay]) {
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({ "content-type": "text/event-stream", "x-accel-buffering": "no" });
      expect(answer.headers).not.toHaveProperty("x-conversation-id");
    }
  });

  it.each(ROUTES)("POST $path is replayed and ends as that route ends", async ({ path, body, ends }) => {
    const id = freshId();
    const whole = await (await client.post({ ...body, stream: true }, { id, path })).whole();
    expect(whole.toString()).toMatch(ends);
    expectSameBytes(await (await client.replay(id)).whole(), whole);
  });

  it("from=k is the body without its first k bytes, for every k", async () => {
    const id = freshId();
    const body = await (await client.post(client.short({ max_tokens: 3 }), { id })).whole();
    const nonAscii = Math.max(
      0,
      body.findIndex((byte) => byte > 0x7f),
    );
    const step = Math.ceil(body.length / 40);
    const offsets = [...Array(41).keys()].map((n) => Math.min(n * step, body.length));
    for (const from of [...offsets, nonAscii + 1, body.length - 5, body.length - 1]) {
      expectSameBytes(await (await client.replay(id, from)).whole(), body.subarray(from));
    }
  });

  it("total_bytes is the length of the body", async () => {
    const id = freshId();
    const body = await (await client.post(client.short(), { id })).whole();
    expect(await client.ended(id)).toMatchObject({ total_bytes: body.length, is_done: true });
  });

  it("pings count, and are replayed", async () => {
    const id = freshId();
    const body = await (await client.post(client.slowPrompt(), { id })).whole();
    expect(body.toString()).toMatch(/^:\n\n/);
    expect(body.toString().endsWith(DONE)).toBe(true);
    expectSameBytes(await (await client.replay(id)).whole(), body);
    expect(await client.ended(id)).toMatchObject({ total_bytes: body.length });
  });

  it.each([
    ["by closing its connection", "destroy"],
    ["by a reset", "reset"],
  ] as const)("a client that leaves %s gets the rest later, as if it had stayed", async (_, leave) => {
    const id = freshId();
    const post = await client.post(client.unhurried(), { id });
    await post.readUntil(2000);
    post[leave]();
    await post.closed;
    const seen = post.bytes;
    expect(seen.toString()).not.toContain(DONE);

    const rest = await (await client.replay(id, seen.length)).whole();
    const whole = await (await client.replay(id)).whole();
    expectSameBytes(Buffer.concat([seen, rest]), whole);
    expect(whole.toString().endsWith(DONE)).toBe(true);
    const undisturbed = await (await client.post(client.unhurried())).whole();
    expect(text(whole)).toBe(text(undisturbed));
  });

  it("a client that leaves before the first byte finds the whole answer", async () => {
    const id = freshId();
    client.sendPost(client.short(), { id }).destroy();
    const post = client.sendPost(client.unhurried(), { id: `${id}-b` });
    await post.answer;
    post.destroy();
    const whole = await (await client.replay(`${id}-b`)).whole();
    expect(whole.toString().endsWith(DONE)).toBe(true);
    expect(await client.ended(`${id}-b`)).toMatchObject({ total_bytes: whole.length });
  });

  it("without a conversation id a client that leaves frees its slot", async () => {
    await client.busySlots(0);
    const post = await client.post(client.endless());
    await post.readUntil(2000);
    await client.busySlots(1);
    post.destroy();
    await client.busySlots(0);
  });

  it("readers that attach to a live stream, anywhere, end with it and hold the same bytes", async () => {
    const id = freshId();
    const post = await client.post(client.unhurried(), { id });
    await post.readUntil(1000);
    const froms = [0, 0, 1, 500, 1000];
    const readers = await Promise.all(froms.map((from) => client.replay(id, from)));
    const leaver = await client.replay(id);
    leaver.destroy();
    const body = await post.whole();
    for (const [index, reader] of readers.entries()) {
      expectSameBytes(await reader.whole(), body.subarray(froms[index]));
    }
  });

  it("fifty readers of one live stream all get all of it", async () => {
    const id = freshId();
    const post = await client.post(client.unhurried(), { id });
    const readers = await Promise.all(Array.from({ length: 50 }, () => client.replay(id)));
    const body = await post.whole();
    for (const reader of readers) expectSameBytes(await reader.whole(), body);
  });

  it("a reader ahead of a live stream waits for its offset", async () => {
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    await post.readUntil(500);
    const from = post.length + 3000;
    const reader = await client.replay(id, from);
    expect(reader.status).toBe(200);
    await reader.readUntil(1000);
    await post.readUntil(from + 1000);
    expectSameBytes(reader.bytes.subarray(0, 1000), post.bytes.subarray(from, from + 1000));
  });

  it("a reader ahead of a live stream that never gets there ends empty", async () => {
    const id = freshId();
    const post = await client.post(client.unhurried(), { id });
    const reader = await client.replay(id, 100_000_000);
    await post.whole();
    expect(await reader.whole()).toHaveLength(0);
  });

  it("HEAD tells at once whether there is something to replay", async () => {
    const id = freshId();
    await (await client.post(client.endless(), { id })).readUntil(100);
    const live = await client.head(id);
    expect(live.status).toBe(200);
    expect(await live.whole()).toHaveLength(0);
    expect((await client.head(freshId())).status).toBe(404);
  });

  it("Range and Last-Event-ID change nothing", async () => {
    const id = freshId();
    const body = await (await client.post(client.short(), { id })).whole();
    const headers = { range: "bytes=10-20", "last-event-id": "3" };
    const replay = await client.replay(id, undefined, { headers });
    expect(replay.status).toBe(200);
    expectSameBytes(await replay.whole(), body);
  });

  it("both forms of the URL", async () => {
    const id = freshId("a/b c");
    const body = await (await client.post(client.short(), { id })).whole();
    const path = `/v1/stream/${encodeURIComponent(id)}`;
    await onEach(target, "both-url-forms", {
      async contract() {
        expect((await client.send("GET", path).answer).status).toBe(404);
        expect((await client.send("DELETE", path).answer).status).toBe(404);
        expectSameBytes(await (await client.replay(id)).whole(), body);
      },
      async holdfast() {
        expectSameBytes(await (await client.send("GET", path).answer).whole(), body);
        expectSameBytes(await (await client.send("GET", `${path}?from=10`).answer).whole(), body.subarray(10));
        expect((await client.send("HEAD", path).answer).status).toBe(200);
        expect((await client.send("DELETE", path).answer).status).toBe(204);
        expect((await client.replay(id)).status).toBe(404);
      },
    });
  });

  it("the POST and its replays name their session", async () => {
    const id = freshId();
    const post = await client.post(client.short(), { id });
    await post.whole();
    const replay = await client.replay(id);
    await onEach(target, "sessions-have-names", {
      contract() {
        expect(replay.headers).not.toHaveProperty("holdfast-session");
      },
      async holdfast() {
        const session = post.headers["holdfast-session"];
        expect(session).toMatch(/^\S+$/);
        expect(replay.headers["holdfast-session"]).toBe(session);
        expect(await client.lookup(id)).toMatchObject([{ session }]);
        await (await client.post(client.short(), { id })).whole();
        const later = await client.send("GET", `${streamPath(id)}&session=${session}`).answer;
        expect(later.status).toBe(409);
        expect(await later.json()).toMatchObject({ error: { type: "conversation_replaced" } });
      },
    });
  });

  it("what a client has is the beginning of what a reader gets", async () => {
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    const reader = await client.replay(id);
    await reader.readUntil(5000);
    await post.readUntil(5000);
    const [shorter, longer] = [post.bytes, reader.bytes].sort((a, b) => a.length - b.length);
    if (shorter && longer) expectBeginning(shorter, longer);
  });
});
