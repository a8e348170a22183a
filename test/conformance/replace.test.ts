import { afterEach, describe, expect, inject, it } from "vitest";
import type { Answer } from "../support/http.ts";
import { Client, events, expectBeginning, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

describe.each(inject("targets"))("a second POST on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  async function live(id: string): Promise<Answer> {
    const post = await client.post(client.endless(), { id });
    return post.readUntil(1000);
  }

  /** The body ended because another POST took the conversation over. */
  async function expectReplaced(answer: Answer): Promise<void> {
    const body = await answer.whole();
    expect(body.toString()).not.toContain("[DONE]");
    await onEach(target, "end-of-a-replaced-stream", {
      contract: () => expect(body.toString()).not.toContain('"error"'),
      holdfast: () =>
        expect(events(body).at(-1)).toMatchObject({ error: { code: 409, type: "conversation_replaced" } }),
    });
  }

  it("ends the first one's readers, takes its slot, and the id means the second", async () => {
    await client.busySlots(0);
    const id = freshId();
    const first = await live(id);
    const reader = await client.replay(id);
    await reader.readUntil(1000);
    const second = await client.post(client.unhurried({ seed: 8 }), { id });
    await expectReplaced(first);
    await expectReplaced(reader);
    const body = await second.whole();
    expect(body.toString().endsWith("data: [DONE]\n\n")).toBe(true);
    expectSameBytes(await (await client.replay(id)).whole(), body);
    await client.busySlots(0);
  });

  it("after the first one's end starts again at offset 0", async () => {
    const id = freshId();
    const first = await (await client.post(client.short(), { id })).whole();
    const second = await (await client.post(client.short({ max_tokens: 4, seed: 8 }), { id })).whole();
    const replayed = await (await client.replay(id)).whole();
    expectSameBytes(replayed, second);
    expect(replayed.equals(first)).toBe(false);
    expect(await client.ended(id)).toMatchObject({ total_bytes: second.length });
  });

  it("with stream:false replaces a live stream too", async () => {
    const id = freshId();
    const first = await live(id);
    const second = await client.post(client.short({ stream: false }), { id });
    await expectReplaced(first);
    expect(await second.json()).toMatchObject({ object: "chat.completion" });
  });

  it.each([
    ["is not JSON", "{bad"],
    ["has no messages", "{}"],
    ["has messages that are no array", '{"messages":"hi"}'],
  ])("that %s leaves the live one untouched", async (_, body) => {
    const id = freshId();
    const first = await client.post(client.unhurried(), { id });
    await first.readUntil(500);
    expect((await client.post(body, { id })).status).toBe(400);
    const whole = await first.whole();
    expect(whole.toString().endsWith("data: [DONE]\n\n")).toBe(true);
    expectSameBytes(await (await client.replay(id)).whole(), whole);
  });

  it.each([
    ["temperature", { temperature: "hot" }],
    ["prompt, which is longer than the context", { messages: [{ role: "user", content: "x".repeat(40_000) }] }],
  ])("refused for its %s", async (_, refused) => {
    await client.busySlots(0);
    const id = freshId();
    const first = await live(id);
    const second = await client.post(client.short(refused), { id });
    expect(second.status).toBe(400);
    await client.busySlots(0);
    await onEach(target, "a-refused-second-post", {
      async contract() {
        await expectReplaced(first);
        expect((await client.replay(id)).status).toBe(404);
        expect(await client.lookup(id)).toEqual([]);
      },
      async holdfast() {
        await expectReplaced(first);
        const kept = await client.replay(id);
        expect(kept.status).toBe(200);
        await expectReplaced(kept);
        expectBeginning(first.bytes, kept.bytes);
        expect(await client.lookup(id)).toMatchObject([{ is_done: true, end: "replaced", total_bytes: kept.length }]);
      },
    });
  });
});
