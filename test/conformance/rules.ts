/**
 * The protocol's rules that hold for every server that claims it, llama-server too: a table. rules.test.ts registers them with
 * the test runner, `holdfast conformance` runs them against any address. They need one slot of the server and its HTTP
 * interface, and ask for few tokens: a real model takes its time.
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, expectSameBytes, freshId } from "./client.ts";

export interface Subject {
  client: Client;
  /** A streaming chat request for so many tokens. */
  chat(tokens: number): Record<string, unknown>;
  /** Whether the server wants a key at all. */
  hasKey: boolean;
}

export interface Rule {
  name: string;
  run(subject: Subject): Promise<void>;
}

const DONE = "data: [DONE]\n\n";
/** Enough to be in the middle of; whoever asks for it stops it or waits for it. */
const LONG = 200;
const SHORT = 8;
/** A loaded machine, a cold model. */
const ANSWER_MS = 120_000;
const POLL_MS = 50;

export const RULES: readonly Rule[] = [
  {
    name: "POST with an id streams events and ends with [DONE]",
    async run({ client, chat }) {
      const post = await client.post(chat(SHORT), { id: freshId() });
      assert.equal(post.status, 200);
      assert.match(String(post.headers["content-type"]), /^text\/event-stream/);
      const body = (await post.whole(ANSWER_MS)).toString();
      assert.match(body, /data: \{/);
      assert.ok(body.endsWith(DONE), `ends with ${JSON.stringify(body.slice(-60))}`);
    },
  },
  {
    name: "GET replays the POST's body byte for byte",
    async run({ client, chat }) {
      const { id, body } = await finished(client, chat(SHORT));
      const replay = await client.replay(id);
      assert.equal(replay.status, 200);
      assert.match(String(replay.headers["content-type"]), /^text\/event-stream/);
      expectSameBytes(await replay.whole(), body);
    },
  },
  {
    name: "from=k is the body without its first k bytes",
    async run({ client, chat }) {
      const { id, body } = await finished(client, chat(SHORT));
      for (const from of [0, 1, 7, Math.floor(body.length / 2), body.length - 1, body.length]) {
        expectSameBytes(await (await client.replay(id, from)).whole(), body.subarray(from));
      }
    },
  },
  {
    name: "from= that is no number is 400, in llama-server's shape",
    async run({ client, chat }) {
      const { id } = await finished(client, chat(SHORT));
      await assertError(await client.replay(id, "abc"), 400, "invalid_request_error");
    },
  },
  {
    name: "an unknown id is 404 for GET, nothing for lookup, 204 for DELETE",
    async run({ client }) {
      await assertError(await client.replay(freshId()), 404, "not_found_error");
      assert.deepEqual(await client.lookup(freshId()), []);
      assert.equal((await client.stop(freshId())).status, 204);
    },
  },
  {
    name: "GET without an id is 400",
    async run({ client }) {
      await assertError(await client.send("GET", "/v1/stream?from=0").answer, 400, "invalid_request_error");
    },
  },
  {
    name: "HEAD tells whether there is something to replay",
    async run({ client, chat }) {
      const { id } = await finished(client, chat(SHORT));
      assert.equal((await client.head(id)).status, 200);
      assert.equal((await client.head(freshId())).status, 404);
    },
  },
  {
    name: "lookup tells the size of a finished answer, and keeps the order asked",
    async run({ client, chat }) {
      const first = await finished(client, chat(SHORT));
      const second = await finished(client, chat(SHORT));
      const rows = await client.lookup(second.id, freshId(), first.id);
      assert.deepEqual(
        rows.map((row) => row.conversation_id),
        [second.id, first.id],
      );
      for (const [row, { body }] of [[rows[0], second] as const, [rows[1], first] as const]) {
        assert.equal(row?.is_done, true);
        assert.equal(row?.total_bytes, body.length);
      }
    },
  },
  {
    name: "a client that leaves in the middle gets the rest later, from one generation",
    async run({ client, chat }) {
      const id = freshId();
      const post = await client.post(chat(LONG), { id });
      await post.readUntil(1_000, ANSWER_MS);
      post.destroy();
      await post.closed;
      const rest = await (await client.replay(id, post.length)).whole(ANSWER_MS);
      const whole = await (await client.replay(id)).whole(ANSWER_MS);
      expectSameBytes(Buffer.concat([post.bytes, rest]), whole);
      assert.ok(whole.toString().endsWith(DONE));
    },
  },
  {
    name: "readers that join a live answer get the same bytes, and end with it",
    async run({ client, chat }) {
      const id = freshId();
      const post = await client.post(chat(LONG), { id });
      await post.readUntil(500, ANSWER_MS);
      const readers = await Promise.all([client.replay(id), client.replay(id, 100)]);
      const body = await post.whole(ANSWER_MS);
      expectSameBytes((await readers[0]?.whole()) ?? Buffer.alloc(0), body);
      expectSameBytes((await readers[1]?.whole()) ?? Buffer.alloc(0), body.subarray(100));
    },
  },
  {
    name: "DELETE ends every reader cleanly, without [DONE], and forgets the answer",
    async run({ client, chat }) {
      const id = freshId();
      const post = await client.post(chat(20 * LONG), { id });
      await post.readUntil(500, ANSWER_MS);
      const reader = await client.replay(id);
      assert.equal((await client.stop(id)).status, 204);
      for (const answer of [post, reader]) assert.doesNotMatch((await answer.whole()).toString(), /\[DONE\]/);
      assert.equal((await client.replay(id)).status, 404);
      assert.deepEqual(await client.lookup(id), []);
    },
  },
  {
    name: "a second POST ends the first, and the id means the second",
    async run({ client, chat }) {
      const id = freshId();
      const first = await client.post(chat(20 * LONG), { id });
      await first.readUntil(500, ANSWER_MS);
      const second = await client.post(chat(SHORT), { id });
      assert.doesNotMatch((await first.whole()).toString(), /\[DONE\]/);
      expectSameBytes(await (await client.replay(id)).whole(), await second.whole(ANSWER_MS));
    },
  },
  {
    name: "a request that is refused is 400 in llama-server's shape, and leaves nothing",
    async run({ client, chat }) {
      for (const body of ["{bad", { ...chat(SHORT), temperature: "hot" }]) {
        const id = freshId();
        await assertError(await client.post(body, { id }), 400, "invalid_request_error");
        assert.equal((await client.replay(id)).status, 404);
      }
    },
  },
  {
    name: "any text is an id, percent-encoded in the query",
    async run({ client, chat }) {
      for (const name of ["a/b/c", "café ⚓", "percent%2F", "chat::org/model:7b"]) {
        const { id, body } = await finished(client, chat(2), `${name} ${freshId()}`);
        expectSameBytes(await (await client.replay(id)).whole(), body);
      }
    },
  },
  {
    name: "Range and Last-Event-ID change nothing",
    async run({ client, chat }) {
      const { id, body } = await finished(client, chat(SHORT));
      const headers = { range: "bytes=1-2", "last-event-id": "3" };
      const replay = await client.replay(id, undefined, { headers });
      assert.equal(replay.status, 200);
      expectSameBytes(await replay.whole(), body);
    },
  },
  {
    name: "GET /health needs no key; everything else refuses a wrong one with 401",
    async run({ client, hasKey }) {
      const headers = { authorization: "Bearer a-wrong-key" };
      assert.equal((await client.send("GET", "/health", { headers }).answer).status, 200);
      if (!hasKey) return;
      await assertError(await client.send("GET", "/v1/models", { headers }).answer, 401, "authentication_error");
      await assertError(await client.replay(freshId(), 0, { headers }), 401, "authentication_error");
    },
  },
  {
    name: "a browser may read an error too",
    async run({ client }) {
      const answer = await client.replay(freshId(), 0, { headers: { origin: "https://app.example" } });
      assert.match(String(answer.headers["access-control-allow-origin"]), /^(\*|https:\/\/app\.example)$/);
    },
  },
];

/** An answer that is over, for the server too. */
async function finished(client: Client, body: unknown, id = freshId()): Promise<{ id: string; body: Buffer }> {
  const post = await client.post(body, { id });
  const bytes = await post.whole(ANSWER_MS);
  assert.equal(post.status, 200, bytes.toString().slice(0, 300));
  const deadline = performance.now() + ANSWER_MS;
  while (!(await client.lookup(id)).some((row) => row.is_done)) {
    assert.ok(performance.now() < deadline, "the answer is over, and lookup still says that it is not");
    await pause(POLL_MS);
  }
  return { id, body: bytes };
}

async function assertError(answer: Awaited<ReturnType<Client["post"]>>, status: number, type: string): Promise<void> {
  const text = (await answer.whole()).toString();
  assert.equal(answer.status, status, text.slice(0, 300));
  const { error } = JSON.parse(text);
  assert.equal(error?.code, status);
  assert.equal(error?.type, type);
  assert.ok(error?.message, "the error has a message");
}
