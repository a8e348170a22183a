import assert from "node:assert/strict";
import { expectDone, expectError, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

const NAMES = [
  "plain",
  "a/b/c",
  "two  blanks",
  "tab\tinside",
  "café ⚓ 🐋",
  `"quoted" and 'so'`,
  "?#&=+;,",
  "back\\slash",
  "percent%2Fpercent%",
  "chat::org/model:7b",
  "::starts-with-colons",
  "..",
  "__proto__",
  "<script>",
];

export const IDS: readonly Rule[] = [
  ...NAMES.map((name) => ({
    name: `${JSON.stringify(name)} is an id for POST, GET, lookup and DELETE`,
    async run(client: Client) {
      const id = `${name} ${freshId()}`;
      const body = await (await client.post(client.short(), { id })).whole();
      expectSameBytes(await (await client.replay(id)).whole(), body);
      assert.deepEqual(idsIn(await client.lookup(id)), [id]);
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(id), 404);
    },
  })),
  {
    name: "in the query a plus is a blank, and an escape is decoded once",
    async run(client) {
      const id = freshId("a b%20c+d");
      const body = await (await client.post(client.short(), { id })).whole();
      const encoded = id.replace("a b%20c+d", "a+b%2520c%2Bd");
      expectSameBytes(await (await client.send("GET", `/v1/stream?conv_id=${encoded}`).answer).whole(), body);
    },
  },
  {
    name: "a slash may stand in the query as it is",
    async run(client) {
      const id = freshId("a/b");
      const body = await (await client.post(client.short(), { id })).whole();
      expectSameBytes(await (await client.send("GET", `/v1/stream?conv_id=${id}`).answer).whole(), body);
    },
  },
  {
    name: "blanks around an id do not count, and its case does",
    async run(client) {
      const id = freshId("Case");
      await (await client.post(client.short(), { headers: { "x-CONVERSATION-id": `  ${id} ` } })).whole();
      await expectStatus(await client.replay(id), 200);
      await expectStatus(await client.replay(id.toLowerCase()), 404);
      await client.stop(id);
    },
  },
  {
    name: "an empty id is none",
    async run(client) {
      const answer = await client.post(client.short(), { headers: { "x-conversation-id": "" } });
      expectDone(await answer.whole());
      await expectStatus(await client.replay(""), 400);
    },
  },
  {
    name: "GET and DELETE of an id do not mean its ::model",
    async run(client) {
      const id = freshId();
      await (await client.post(client.short(), { id: `${id}::tiny` })).whole();
      await expectStatus(await client.replay(id), 404);
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(`${id}::tiny`), 200);
    },
  },
  {
    name: "a conversation and its ::model",
    needs: ["origin"],
    run: aConversationAndItsModel,
  },
  {
    name: "an id of 512 bytes is fine",
    async run(client) {
      const id = freshId("x".repeat(512 - "-12345678".length));
      assert.equal(id.length, 512);
      const body = await (await client.post(client.short(), { id })).whole();
      expectSameBytes(await (await client.replay(id)).whole(), body);
    },
  },
  ...[
    ["of more than 512 characters", "x".repeat(512)] as const,
    ["of more than 512 bytes in fewer characters", "é".repeat(256)] as const,
  ].map(([what, name]) => ({
    name: `an id ${what}`,
    async run(client: Client) {
      const id = freshId(name);
      const answer = await client.post(client.short(), { id });
      await onEach(client.target, "limits-of-an-id", {
        async contract() {
          const body = await answer.whole();
          expectSameBytes(await (await client.replay(id)).whole(), body);
        },
        holdfast: () => expectError(answer, 400, "invalid_request_error"),
      });
    },
  })),
  {
    name: "another key and the same id",
    needs: ["otherKey"],
    run: anotherKey,
  },
];

async function aConversationAndItsModel(client: Client): Promise<void> {
  await client.busySlots(0);
  const id = freshId();
  const first = await client.post(client.endless(), { id });
  await first.readUntil(100);
  await (await client.post(client.endless(), { id: `${id}::tiny` })).readUntil(100);
  await onEach(client.target, "one-session-per-conversation", {
    async contract() {
      await client.busySlots(2);
      assert.equal(first.ended, false);
      assert.deepEqual(idsIn(await client.lookup(id)).sort(), [id, `${id}::tiny`]);
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(`${id}::tiny`), 200);
    },
    async holdfast() {
      assert.equal(await first.closed, "clean");
      assert.match(first.text, /conversation_replaced/);
      await client.busySlots(1);
      assert.deepEqual(idsIn(await client.lookup(id)), [`${id}::tiny`]);
      await expectStatus(await client.replay(id), 404);
    },
  });
}

async function anotherKey(client: Client): Promise<void> {
  const other = client.other();
  const id = freshId();
  const post = await client.post(client.endless(), { id });
  await post.readUntil(100);
  const replay = await other.replay(id);
  const rows = await other.lookup(id);
  await onEach(client.target, "ids-belong-to-a-tenant", {
    async contract() {
      await expectStatus(replay, 200);
      assert.equal(rows.length, 1);
      await expectStatus(await other.stop(id), 204);
      assert.equal(await post.closed, "clean");
    },
    async holdfast() {
      await expectStatus(replay, 404);
      assert.deepEqual(rows, []);
      await expectStatus(await other.stop(id), 204);
      await post.readUntil(post.length + 1000);
      await (await other.post(other.short(), { id })).whole();
      await post.readUntil(post.length + 1000);
      await expectStatus(await client.replay(id), 200);
    },
  });
  await other.cleanUp();
}

function idsIn(rows: ReadonlyArray<{ conversation_id: string }>): string[] {
  return rows.map((row) => row.conversation_id);
}
