import { afterEach, describe, expect, inject, it } from "vitest";
import { until } from "../../tools/wait.ts";
import { Client, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

describe.each(inject("targets"))("stream:false with an id on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  it.each([
    ["/v1/chat/completions", { messages: [], max_tokens: 3 }, { object: "chat.completion" }],
    ["/v1/completions", { prompt: "hi", max_tokens: 3 }, { object: "text_completion" }],
    ["/completion", { prompt: "hi", n_predict: 3 }, { stop: true }],
    ["/v1/responses", { input: "hi", max_output_tokens: 3 }, { object: "response" }],
    ["/v1/messages", { messages: [], max_tokens: 3 }, { type: "message" }],
  ])("POST %s answers JSON", async (path, body, shape) => {
    const id = freshId();
    const answer = await client.post(body, { id, path });
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toMatch(/^application\/json/);
    expect(await answer.json()).toMatchObject(shape);
    const later = await client.replay(id);
    await onEach(target, "json-answers-are-kept", {
      async contract() {
        expect(later.status).toBe(404);
        expect(await client.lookup(id)).toEqual([]);
      },
      async holdfast() {
        expect(later.status).toBe(200);
        expect(later.headers["content-type"]).toMatch(/^application\/json/);
        expectSameBytes(await later.whole(), answer.bytes);
      },
    });
  });

  it("is listed as live while it generates, without a byte", async () => {
    const id = freshId();
    const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
    const row = await until(async () => (await client.lookup(id))[0], "the session is listed");
    expect(row).toMatchObject({ is_done: false, total_bytes: 0, completed_at: 0 });
    expect(await (await exchange.answer).json()).toMatchObject({ object: "chat.completion" });
  });

  it("runs on when its client leaves", async () => {
    await client.busySlots(0);
    const id = freshId();
    const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
    await client.busySlots(1);
    exchange.destroy();
    await client.busySlots(0);
    await onEach(target, "json-answers-are-kept", {
      contract: async () => expect((await client.replay(id)).status).toBe(404),
      async holdfast() {
        await client.ended(id);
        const later = await client.replay(id);
        const { choices } = (await later.json()) as { choices: [{ message: { content: string } }] };
        const undisturbed = await client.post(client.unhurried({ stream: false }));
        const { choices: expected } = (await undisturbed.json()) as typeof choices extends infer C
          ? { choices: C }
          : never;
        expect(choices[0].message.content).toBe(expected[0].message.content);
      },
    });
  });

  it("DELETE while it generates is 204, and the id is gone", async () => {
    const id = freshId();
    const exchange = client.sendPost(client.unhurried({ stream: false }), { id });
    await until(async () => (await client.lookup(id))[0], "the session is listed");
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.replay(id)).status).toBe(404);
    expect(await client.lookup(id)).toEqual([]);
    exchange.destroy();
    await client.busySlots(0);
  });
});
