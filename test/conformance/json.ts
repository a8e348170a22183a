import assert from "node:assert/strict";
import { until } from "../../tools/wait.ts";
import { expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId, MESSAGES } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

/** A route, what is asked of it, and what its answer has. */
const ROUTES: ReadonlyArray<[path: string, body: Record<string, unknown>, shape: Record<string, unknown>]> = [
  ["/v1/chat/completions", { messages: MESSAGES, max_tokens: 3 }, { object: "chat.completion" }],
  ["/v1/completions", { prompt: "hi", max_tokens: 3 }, { object: "text_completion" }],
  ["/completion", { prompt: "hi", n_predict: 3 }, { stop: true }],
  ["/v1/responses", { input: "hi", max_output_tokens: 3 }, { object: "response" }],
  ["/v1/messages", { messages: MESSAGES, max_tokens: 3 }, { type: "message" }],
];

/** Answers with `stream:false`, asked for with an id. */
export const JSON_ANSWERS: readonly Rule[] = [
  ...ROUTES.map(([path, body, shape]) => ({
    name: `POST ${path} answers JSON`,
    async run(client: Client) {
      const id = freshId();
      const answer = await client.post(client.body(body), { id, path });
      await expectStatus(answer, 200);
      assert.match(String(answer.headers["content-type"]), /^application\/json/);
      expectMatch(await answer.json(), shape);
      const later = await client.replay(id);
      await onEach(client.target, "json-answers-are-kept", {
        async contract() {
          await expectStatus(later, 404);
          assert.deepEqual(await client.lookup(id), []);
        },
        async holdfast() {
          await expectStatus(later, 200);
          assert.match(String(later.headers["content-type"]), /^application\/json/);
          expectSameBytes(await later.whole(), answer.bytes);
        },
      });
    },
  })),
  {
    name: "is listed as live while it generates, without a byte",
    async run(client) {
      const id = freshId();
      const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
      const row = await until(async () => (await client.lookup(id))[0], "the session is listed");
      expectMatch(row, { is_done: false, total_bytes: 0, completed_at: 0 });
      expectMatch(await (await exchange.answer).json(), { object: "chat.completion" });
    },
  },
  {
    name: "runs on when its client leaves",
    needs: ["origin", "suite"],
    run: runsOnWhenItsClientLeaves,
  },
  {
    name: "DELETE while it generates is 204, and the id is gone",
    needs: ["origin"],
    async run(client) {
      const id = freshId();
      const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
      await until(async () => (await client.lookup(id))[0], "the session is listed");
      await expectStatus(await client.stop(id), 204);
      await expectStatus(await client.replay(id), 404);
      assert.deepEqual(await client.lookup(id), []);
      exchange.destroy();
      await client.busySlots(0);
    },
  },
];

async function runsOnWhenItsClientLeaves(client: Client): Promise<void> {
  await client.busySlots(0);
  const id = freshId();
  const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
  await client.busySlots(1);
  exchange.destroy();
  await client.busySlots(0);
  await onEach(client.target, "json-answers-are-kept", {
    contract: async () => expectStatus(await client.replay(id), 404),
    async holdfast() {
      await client.ended(id);
      const later = await (await client.replay(id)).json();
      const undisturbed = await (await client.post(client.unhurried({ stream: false }))).json();
      assert.equal(contentOf(later), contentOf(undisturbed));
    },
  });
}

function contentOf(completion: unknown): string {
  const { choices } = completion as { choices: [{ message: { content: string } }] };
  assert.match(choices[0].message.content, /./);
  return choices[0].message.content;
}
