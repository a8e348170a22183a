import assert from "node:assert/strict";
import { expectError, expectMatch, expectStatus } from "./assertions.ts";
import { type Client, freshId } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

const THEIRS = ["completed_at", "conversation_id", "is_done", "started_at", "total_bytes"];

export const LOOKUP: readonly Rule[] = [
  {
    name: "tells a finished session's size and times, in whole seconds",
    async run(client) {
      const before = Math.floor(Date.now() / 1000);
      const id = freshId();
      const body = await (await client.post(client.short(), { id })).whole();
      const row = await client.ended(id);
      const after = Math.ceil(Date.now() / 1000);
      expectMatch(row, { conversation_id: id, is_done: true, total_bytes: body.length });
      for (const time of [row.started_at, row.completed_at]) {
        assert.ok(Number.isInteger(time) && time >= before && time <= after, `${before} ≤ ${time} ≤ ${after}`);
      }
      await onEach(client.target, "more-in-a-lookup-row", {
        contract: () => assert.deepEqual(Object.keys(row).sort(), THEIRS),
        holdfast() {
          for (const name of THEIRS) assert.ok(name in row, `${name} is missing`);
          expectMatch(row, { session: /./, end: "done", dropped_bytes: 0 });
        },
      });
    },
  },
  {
    name: "shows a live session grow",
    async run(client) {
      const id = freshId();
      const post = await client.post(client.endless(), { id });
      await post.readUntil(1000);
      const [row] = await client.lookup(id);
      expectMatch(row, { is_done: false, completed_at: 0 });
      await onEach(client.target, "more-in-a-lookup-row", {
        contract: () => assert.ok(row && !("end" in row)),
        holdfast: () => expectMatch(row, { end: null }),
      });
      const seen = row?.total_bytes ?? 0;
      assert.ok(seen >= 1000, `${seen} bytes`);
      await post.readUntil(seen + 1);
      const [later] = await client.lookup(id);
      assert.ok((later?.total_bytes ?? 0) > seen, `${later?.total_bytes} after ${seen} bytes`);
    },
  },
  {
    name: "keeps the order asked, repeats what is asked twice, and leaves unknown ids out",
    async run(client) {
      const [a, b] = [await finished(client), await finished(client)];
      assert.deepEqual(await idsOf(client, b, a, freshId(), a), [b, a, a]);
    },
  },
  {
    name: "skips what is no id",
    async run(client) {
      const id = await finished(client);
      assert.deepEqual(await idsOf(client, 5, null, "", {}, [id], id, true), [id]);
    },
  },
  {
    name: "by the bare id finds the session of a ::model, and nothing that only begins alike",
    async run(client) {
      const id = freshId();
      await finished(client, `${id}::org/model:7b`);
      await finished(client, `${id}7`);
      assert.deepEqual(await idsOf(client, id), [`${id}::org/model:7b`]);
      const both = await idsOf(client, `${id}::org/model:7b`, id);
      assert.deepEqual(both, [`${id}::org/model:7b`, `${id}::org/model:7b`]);
      assert.deepEqual(await idsOf(client, `${id}::`, `${id}::org`), []);
    },
  },
  ...["{}", "[]", "null", "5", '"x"', '{"conversation_ids":"x"}', '{"conversation_ids":[]}'].map((body) => ({
    name: `of ${body} finds nothing`,
    async run(client: Client) {
      const answer = await client.lookupBody(body);
      await expectStatus(answer, 200);
      assert.deepEqual(await answer.json(), []);
    },
  })),
  ...["", "{", "conversation_ids"].map((body) => ({
    name: `of ${JSON.stringify(body)}, which is not JSON, is 400`,
    async run(client: Client) {
      const answer = await client.lookupBody(body);
      assert.equal(answer.status, 400);
      // Of llama-server's errors this one has no code.
      expectMatch(await answer.json(), { error: { type: "invalid_request_error" } });
    },
  })),
  {
    name: "of many ids",
    async run(client) {
      const id = await finished(client);
      const unknown = Array.from({ length: 60 }, () => freshId("nobody"));
      assert.deepEqual(await idsOf(client, ...unknown, id), [id]);
      const tooMany = Array.from({ length: 10_001 }, (_, n) => `nobody-${n}`);
      const answer = await client.lookupBody({ conversation_ids: tooMany });
      await onEach(client.target, "a-limit-for-lookups", {
        async contract() {
          await expectStatus(answer, 200);
          assert.deepEqual(await answer.json(), []);
        },
        holdfast: () => expectError(answer, 400, "invalid_request_error"),
      });
    },
  },
];

async function finished(client: Client, id = freshId()): Promise<string> {
  await (await client.post(client.short({ max_tokens: 2 }), { id })).whole();
  await client.ended(id);
  return id;
}

async function idsOf(client: Client, ...asked: unknown[]): Promise<string[]> {
  return (await client.lookup(...asked)).map((row) => row.conversation_id);
}
