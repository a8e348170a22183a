import assert from "node:assert/strict";
import type { Answer } from "../support/http.ts";
import { expectBeginning, expectDone, expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, events, freshId } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Need, Rule } from "./rule.ts";

/** Refused before the stream: for what, the parameter, and what that takes. */
const REFUSED: ReadonlyArray<[what: string, parameters: Record<string, unknown>, needs: Need[]]> = [
  ["temperature", { temperature: "hot" }, ["origin"]],
  [
    "prompt, which is longer than the context",
    { messages: [{ role: "user", content: "x".repeat(40_000) }] },
    ["origin", "suite"],
  ],
];

/** A second POST in a conversation. */
export const REPLACE: readonly Rule[] = [
  {
    name: "ends the first one's readers, takes its slot, and the id means the second",
    needs: ["origin"],
    async run(client) {
      await client.busySlots(0);
      const id = freshId();
      const first = await live(client, id);
      const reader = await client.replay(id);
      await reader.readUntil(1000);
      const second = await client.post(client.unhurried({ seed: 8 }), { id });
      await expectReplaced(client, first);
      await expectReplaced(client, reader);
      const body = await second.whole();
      expectDone(body);
      expectSameBytes(await (await client.replay(id)).whole(), body);
      await client.busySlots(0);
    },
  },
  {
    name: "after the first one's end starts again at offset 0",
    async run(client) {
      const id = freshId();
      const first = await (await client.post(client.short(), { id })).whole();
      const second = await (await client.post(client.short({ max_tokens: 4, seed: 8 }), { id })).whole();
      const replayed = await (await client.replay(id)).whole();
      expectSameBytes(replayed, second);
      assert.ok(!replayed.equals(first));
      expectMatch(await client.ended(id), { total_bytes: second.length });
    },
  },
  {
    name: "with stream:false replaces a live stream too",
    async run(client) {
      const id = freshId();
      const first = await live(client, id);
      const second = await client.post(client.short({ stream: false }), { id });
      await expectReplaced(client, first);
      expectMatch(await second.json(), { object: "chat.completion" });
    },
  },
  ...[
    ["is not JSON", "{bad"] as const,
    ["has no messages", "{}"] as const,
    ["has messages that are no array", '{"messages":"hi"}'] as const,
  ].map(([what, body]) => ({
    name: `that ${what} leaves the live one untouched`,
    async run(client: Client) {
      const id = freshId();
      const first = await client.post(client.unhurried(), { id });
      await first.readUntil(500);
      await expectStatus(await client.post(body, { id }), 400);
      const whole = await first.whole();
      expectDone(whole);
      expectSameBytes(await (await client.replay(id)).whole(), whole);
    },
  })),
  ...REFUSED.map(([what, parameters, needs]) => ({
    name: `refused for its ${what}`,
    needs,
    run: (client: Client) => aRefusedOne(client, parameters),
  })),
];

async function live(client: Client, id: string): Promise<Answer> {
  const post = await client.post(client.endless(), { id });
  return post.readUntil(1000);
}

/** The body ended because another POST took the conversation over. */
async function expectReplaced(client: Client, answer: Answer): Promise<void> {
  const body = await answer.whole();
  assert.ok(!body.includes("[DONE]"));
  await onEach(client.target, "end-of-a-replaced-stream", {
    contract: () => assert.ok(!body.includes('"error"')),
    holdfast: () => expectMatch(events(body).at(-1), { error: { code: 409, type: "conversation_replaced" } }),
  });
}

async function aRefusedOne(client: Client, parameters: Record<string, unknown>): Promise<void> {
  await client.busySlots(0);
  const id = freshId();
  const first = await live(client, id);
  await expectStatus(await client.post(client.short(parameters), { id }), 400);
  await client.busySlots(0);
  await expectReplaced(client, first);
  await onEach(client.target, "a-refused-second-post", {
    async contract() {
      await expectStatus(await client.replay(id), 404);
      assert.deepEqual(await client.lookup(id), []);
    },
    async holdfast() {
      const kept = await client.replay(id);
      await expectStatus(kept, 200);
      await expectReplaced(client, kept);
      expectBeginning(first.bytes, kept.bytes);
      expectMatch(await client.lookup(id), [{ is_done: true, end: "replaced", total_bytes: kept.length }]);
    },
  });
}
