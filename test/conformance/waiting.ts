import assert from "node:assert/strict";
import { until } from "../../tools/wait.ts";
import type { Exchange } from "../support/http.ts";
import { expectDone, expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

/** Answers that wait for a slot: each rule takes all of them first. */
export const WAITING: readonly Rule[] = [
  {
    name: "a session is listed and readable from the moment its POST is accepted",
    needs: ["origin"],
    async run(client) {
      const freeOne = await fillSlots(client);
      const id = freshId();
      const exchange = await queued(client, id);
      expectMatch(await client.lookup(id), [{ is_done: false, completed_at: 0 }]);
      await expectStatus(await client.head(id), 200);
      const reader = await client.replay(id);
      await expectStatus(reader, 200);
      await onEach(client.target, "pings-in-silence", {
        contract: async () => expectMatch(await client.lookup(id), [{ total_bytes: 0 }]),
        async holdfast() {
          await reader.readUntil(":\n\n", 5_000);
          await until(async () => (await client.lookup(id))[0]?.total_bytes, "the ping is counted");
        },
      });
      await freeOne();
      const body = await (await exchange.answer).whole();
      expectDone(body);
      expectSameBytes(await reader.whole(), body);
      expectMatch(await client.ended(id), { total_bytes: body.length });
    },
  },
  {
    name: "a client that leaves the queue finds its answer later",
    needs: ["origin"],
    async run(client) {
      const freeOne = await fillSlots(client);
      const id = freshId();
      (await queued(client, id)).destroy();
      await freeOne();
      await client.ended(id);
      expectDone(await (await client.replay(id)).whole());
    },
  },
  {
    name: "without a conversation id a client that leaves the queue is forgotten",
    needs: ["origin"],
    async run(client) {
      const freeOne = await fillSlots(client);
      client.sendPost(client.short()).destroy();
      await freeOne();
      await client.busySlots((await client.slots()).length - 1);
    },
  },
  {
    name: "DELETE of a waiting session is 204, and it never says a word",
    needs: ["origin"],
    async run(client) {
      const freeOne = await fillSlots(client);
      const id = freshId();
      const exchange = await queued(client, id);
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(id), 404);
      await freeOne();
      const answer = await exchange.answer;
      await expectStatus(answer, 200);
      assert.ok(!(await answer.whole()).includes("data:"));
    },
  },
];

/** Returns what frees one of them. */
async function fillSlots(client: Client): Promise<() => Promise<unknown>> {
  await client.busySlots(0);
  const fillers = (await client.slots()).map(() => freshId("filler"));
  await Promise.all(fillers.map((id) => client.post(client.endless(), { id })));
  await client.busySlots(fillers.length);
  return () => client.stop(fillers[0] ?? "");
}

async function queued(client: Client, id: string): Promise<Exchange> {
  const exchange = client.sendPost(client.short(), { id });
  await until(async () => (await client.lookup(id))[0], "the waiting session is listed");
  return exchange;
}
