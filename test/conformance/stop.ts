import assert from "node:assert/strict";
import { expectDone, expectError, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId, streamPath } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

const STOPPED = ": holdfast end=stopped\n\n";

/** DELETE of a stream. */
export const STOP: readonly Rule[] = [
  {
    name: "ends every reader cleanly without a terminator, and leaves nothing",
    async run(client) {
      const { id, answers } = await readTwice(client);
      const stopped = await client.stop(id);
      await expectStatus(stopped, 204);
      expectSameBytes(await stopped.whole(), Buffer.alloc(0));
      for (const answer of answers) await expectStopped(client, await answer.whole());
      await expectStatus(await client.replay(id), 404);
      assert.deepEqual(await client.lookup(id), []);
    },
  },
  {
    name: "frees the slot",
    needs: ["origin"],
    async run(client) {
      await client.busySlots(0);
      const { id } = await readTwice(client);
      await client.busySlots(1);
      await expectStatus(await client.stop(id), 204);
      await client.busySlots(0);
    },
  },
  {
    name: "stops a generation that nobody reads",
    needs: ["origin"],
    async run(client) {
      await client.busySlots(0);
      const id = freshId();
      const post = await client.post(client.endless(), { id });
      await post.readUntil(1000);
      post.destroy();
      await post.closed;
      await client.busySlots(1);
      await expectStatus(await client.stop(id), 204);
      await client.busySlots(0);
      await expectStatus(await client.replay(id), 404);
    },
  },
  {
    name: "is 204 for a finished, a stopped and an unknown id",
    async run(client) {
      const id = freshId();
      await (await client.post(client.short(), { id })).whole();
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(id), 404);
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.stop(freshId()), 204);
    },
  },
  {
    name: "ignores a body and an offset",
    async run(client) {
      const id = freshId();
      await (await client.post(client.short(), { id })).whole();
      await expectStatus(await client.send("DELETE", `${streamPath(id)}&from=abc`, { body: "{}" }).answer, 204);
      await expectStatus(await client.replay(id), 404);
    },
  },
  {
    name: "without an id is 400",
    run: async (client) => expectError(await client.send("DELETE", "/v1/stream").answer, 400, "invalid_request_error"),
  },
  {
    name: "leaves the id free for another session, whose offsets start at 0",
    async run(client) {
      const id = freshId();
      await (await client.post(client.endless(), { id })).readUntil(1000);
      await client.stop(id);
      const body = await (await client.post(client.short({ seed: 8 }), { id })).whole();
      expectSameBytes(await (await client.replay(id)).whole(), body);
    },
  },
  {
    name: "of one conversation leaves the others alone",
    async run(client) {
      const post = await client.post(client.unhurried(), { id: freshId() });
      await post.readUntil(500);
      const neighbour = freshId();
      await (await client.post(client.endless(), { id: neighbour })).readUntil(500);
      await client.stop(neighbour);
      expectDone(await post.whole());
    },
  },
];

/** A live answer, read by its POST and by a GET. */
async function readTwice(client: Client) {
  const id = freshId();
  const post = await client.post(client.endless(), { id });
  await post.readUntil(1000);
  const reader = await client.replay(id);
  await reader.readUntil(1000);
  return { id, answers: [post, reader] };
}

async function expectStopped(client: Client, body: Buffer): Promise<void> {
  assert.ok(!body.includes("[DONE]"));
  assert.ok(!body.includes('"error"'));
  await onEach(client.target, "end-of-a-stopped-stream", {
    contract: () => assert.ok(!body.includes(STOPPED)),
    holdfast: () => assert.ok(body.toString().endsWith(STOPPED)),
  });
}
