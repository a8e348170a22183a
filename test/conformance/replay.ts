import assert from "node:assert/strict";
import { expectBeginning, expectDone, expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId, MESSAGES, streamPath, text } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Need, Rule } from "./rule.ts";

/** Every generating route: its body, and how its stream ends. */
const ROUTES: ReadonlyArray<{ path: string; body: Record<string, unknown>; ends: RegExp; needs?: readonly Need[] }> = [
  { path: "/v1/chat/completions", body: { messages: MESSAGES, max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/chat/completions", body: { messages: MESSAGES, max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/v1/completions", body: { prompt: "hi", max_tokens: 9 }, ends: /data: \[DONE\]\n\n$/ },
  { path: "/completion", body: { prompt: "hi", n_predict: 9 }, ends: /"stop":true.*\n\n$/ },
  { path: "/completions", body: { prompt: "hi", n_predict: 9 }, ends: /"stop":true.*\n\n$/ },
  {
    path: "/infill",
    body: { input_prefix: "a", input_suffix: "b", n_predict: 9 },
    ends: /"stop":true.*\n\n$/,
    // Of a model that was made for it.
    needs: ["suite"],
  },
  { path: "/v1/responses", body: { input: "hi", max_output_tokens: 9 }, ends: /event: response\.completed\n.*\n\n$/ },
  { path: "/responses", body: { input: "hi", max_output_tokens: 9 }, ends: /event: response\.completed\n.*\n\n$/ },
  { path: "/v1/messages", body: { messages: MESSAGES, max_tokens: 9 }, ends: /event: message_stop\n.*\n\n$/ },
];

/** Many enough that each kind of place is among them: within an event, a character, the end. */
const OFFSETS = 40;

export const REPLAY: readonly Rule[] = [
  {
    name: "a replay is the POST's body, byte for byte, with the same headers",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.short(), { id });
      const body = await post.whole();
      assert.match(body.toString(), /^(?::\n\n)*data: \{.*\n\ndata: \[DONE\]\n\n$/s);
      const replay = await client.replay(id);
      expectSameBytes(await replay.whole(), body);
      for (const { status, headers } of [post, replay]) {
        assert.equal(status, 200);
        expectMatch(headers, { "content-type": /^text\/event-stream/, "x-accel-buffering": "no" });
        assert.ok(!("x-conversation-id" in headers));
      }
    },
  },
  ...ROUTES.map(({ path, body, ends, needs = [] }) => ({
    name: `POST ${path} is replayed and ends as that route ends`,
    needs,
    async run(client: Client) {
      const id = freshId();
      const whole = await (await client.post(client.body({ ...body, stream: true }), { id, path })).whole();
      assert.match(whole.toString(), ends);
      expectSameBytes(await (await client.replay(id)).whole(), whole);
    },
  })),
  {
    name: "from=k is the body without its first k bytes, for every k",
    async run(client) {
      const id = freshId();
      const body = await (await client.post(client.short({ max_tokens: 3 }), { id })).whole();
      const step = Math.ceil(body.length / OFFSETS);
      const regular = Array.from({ length: OFFSETS + 1 }, (_, n) => Math.min(n * step, body.length));
      const inACharacter = body.findIndex((byte) => byte > 0x7f) + 1;
      for (const from of [...regular, inACharacter, body.length - 5, body.length - 1]) {
        expectSameBytes(await (await client.replay(id, from)).whole(), body.subarray(from));
      }
    },
  },
  {
    name: "total_bytes is the length of the body",
    async run(client) {
      const id = freshId();
      const body = await (await client.post(client.short(), { id })).whole();
      expectMatch(await client.ended(id), { total_bytes: body.length, is_done: true });
    },
  },
  {
    name: "pings count, and are replayed",
    needs: ["suite"],
    async run(client) {
      const id = freshId();
      const body = await (await client.post(client.slowPrompt(), { id })).whole();
      assert.match(body.toString(), /^:\n\n/);
      expectDone(body);
      expectSameBytes(await (await client.replay(id)).whole(), body);
      expectMatch(await client.ended(id), { total_bytes: body.length });
    },
  },
  ...[["by closing its connection", "destroy"] as const, ["by a reset", "reset"] as const].map(([how, leave]) => ({
    name: `a client that leaves ${how} gets the rest later`,
    run: async (client: Client) => void (await leaveAndReturn(client, leave)),
  })),
  {
    name: "a client that leaves gets the rest later, as if it had stayed",
    needs: ["suite"],
    async run(client) {
      const whole = await leaveAndReturn(client, "reset");
      const undisturbed = await (await client.post(client.unhurried())).whole();
      assert.equal(text(whole), text(undisturbed));
    },
  },
  {
    name: "a client that leaves before the first byte finds the whole answer",
    async run(client) {
      const id = freshId();
      client.sendPost(client.short(), { id }).destroy();
      const post = client.sendPost(client.unhurried(), { id: `${id}-b` });
      await post.answer;
      post.destroy();
      const whole = await (await client.replay(`${id}-b`)).whole();
      expectDone(whole);
      expectMatch(await client.ended(`${id}-b`), { total_bytes: whole.length });
    },
  },
  {
    name: "without a conversation id a client that leaves frees its slot",
    needs: ["origin"],
    async run(client) {
      await client.busySlots(0);
      const post = await client.post(client.endless());
      await post.readUntil(2000);
      await client.busySlots(1);
      post.destroy();
      await client.busySlots(0);
    },
  },
  {
    name: "readers that attach to a live stream, anywhere, end with it and hold the same bytes",
    async run(client) {
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
    },
  },
  {
    name: "fifty readers of one live stream all get all of it",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.unhurried(), { id });
      const readers = await Promise.all(Array.from({ length: 50 }, () => client.replay(id)));
      const body = await post.whole();
      for (const reader of readers) expectSameBytes(await reader.whole(), body);
    },
  },
  {
    name: "a reader ahead of a live stream waits for its offset",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.endless(), { id });
      await post.readUntil(500);
      const from = post.length + 3000;
      const reader = await client.replay(id, from);
      await expectStatus(reader, 200);
      await reader.readUntil(1000);
      await post.readUntil(from + 1000);
      expectSameBytes(reader.bytes.subarray(0, 1000), post.bytes.subarray(from, from + 1000));
    },
  },
  {
    name: "a reader ahead of a live stream that never gets there ends empty",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.unhurried(), { id });
      const reader = await client.replay(id, 100_000_000);
      await post.whole();
      expectSameBytes(await reader.whole(), Buffer.alloc(0));
    },
  },
  {
    name: "HEAD tells at once whether there is something to replay",
    async run(client) {
      const id = freshId();
      await (await client.post(client.endless(), { id })).readUntil(100);
      const live = await client.head(id);
      await expectStatus(live, 200);
      expectSameBytes(await live.whole(), Buffer.alloc(0));
      assert.equal((await client.head(freshId())).status, 404);
    },
  },
  {
    name: "Range and Last-Event-ID change nothing",
    async run(client) {
      const id = freshId();
      const body = await (await client.post(client.short(), { id })).whole();
      const headers = { range: "bytes=10-20", "last-event-id": "3" };
      const replay = await client.replay(id, undefined, { headers });
      await expectStatus(replay, 200);
      expectSameBytes(await replay.whole(), body);
    },
  },
  { name: "both forms of the URL", run: bothForms },
  { name: "the POST and its replays name their session", run: sessionsHaveNames },
  {
    name: "what a client has is the beginning of what a reader gets",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.endless(), { id });
      const reader = await client.replay(id);
      await reader.readUntil(5000);
      await post.readUntil(5000);
      const [shorter, longer] = [post.bytes, reader.bytes].sort((a, b) => a.length - b.length);
      if (shorter && longer) expectBeginning(shorter, longer);
    },
  },
];

/** Returns all of the answer that the client had left in the middle. */
async function leaveAndReturn(client: Client, leave: "destroy" | "reset"): Promise<Buffer> {
  const id = freshId();
  const post = await client.post(client.unhurried(), { id });
  await post.readUntil(2000);
  post[leave]();
  await post.closed;
  const seen = post.bytes;
  assert.ok(!seen.includes("[DONE]"), "the answer was over before the client left");

  const rest = await (await client.replay(id, seen.length)).whole();
  const whole = await (await client.replay(id)).whole();
  expectSameBytes(Buffer.concat([seen, rest]), whole);
  expectDone(whole);
  return whole;
}

async function bothForms(client: Client): Promise<void> {
  const id = freshId("a/b c");
  const body = await (await client.post(client.short(), { id })).whole();
  const path = `/v1/stream/${encodeURIComponent(id)}`;
  await onEach(client.target, "both-url-forms", {
    async contract() {
      await expectStatus(await client.send("GET", path).answer, 404);
      await expectStatus(await client.send("DELETE", path).answer, 404);
      expectSameBytes(await (await client.replay(id)).whole(), body);
    },
    async holdfast() {
      expectSameBytes(await (await client.send("GET", path).answer).whole(), body);
      expectSameBytes(await (await client.send("GET", `${path}?from=10`).answer).whole(), body.subarray(10));
      await expectStatus(await client.send("HEAD", path).answer, 200);
      await expectStatus(await client.send("DELETE", path).answer, 204);
      await expectStatus(await client.replay(id), 404);
    },
  });
}

async function sessionsHaveNames(client: Client): Promise<void> {
  const id = freshId();
  const post = await client.post(client.short(), { id });
  await post.whole();
  const replay = await client.replay(id);
  await onEach(client.target, "sessions-have-names", {
    contract: () => assert.ok(!("holdfast-session" in replay.headers)),
    async holdfast() {
      const session = post.headers["holdfast-session"];
      expectMatch(session, /^\S+$/);
      assert.equal(replay.headers["holdfast-session"], session);
      expectMatch(await client.lookup(id), [{ session }]);
      await (await client.post(client.short(), { id })).whole();
      const later = await client.send("GET", `${streamPath(id)}&session=${session}`).answer;
      assert.equal(later.status, 409);
      expectMatch(await later.json(), { error: { type: "conversation_replaced" } });
    },
  });
}
