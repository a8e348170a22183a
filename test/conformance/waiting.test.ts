import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { until } from "../../tools/wait.ts";
import { Client, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

describe.each(inject("targets"))("waiting for a slot on $name", (target) => {
  const client = new Client(target);
  const fillers = Array.from({ length: 4 }, () => freshId("filler"));

  beforeEach(async () => {
    await client.busySlots(0);
    await Promise.all(fillers.map((id) => client.post(client.endless(), { id })));
    await client.busySlots(4);
  });
  afterEach(() => client.cleanUp());

  async function queued(id: string) {
    const exchange = client.sendPost(client.short(), { id });
    await until(async () => (await client.lookup(id))[0], "the waiting session is listed");
    return exchange;
  }

  it("a session is listed and readable from the moment its POST is accepted", async () => {
    const id = freshId();
    const exchange = await queued(id);
    expect(await client.lookup(id)).toMatchObject([{ is_done: false, completed_at: 0 }]);
    expect((await client.head(id)).status).toBe(200);
    const reader = await client.replay(id);
    expect(reader.status).toBe(200);
    await onEach(target, "pings-in-silence", {
      async contract() {
        expect(await client.lookup(id)).toMatchObject([{ total_bytes: 0 }]);
      },
      async holdfast() {
        await reader.readUntil(":\n\n", 5_000);
        await until(async () => (await client.lookup(id))[0]?.total_bytes, "the ping is counted");
      },
    });
    await client.stop(fillers[0] ?? "");
    const body = await (await exchange.answer).whole();
    expect(body.toString()).toMatch(/data: \[DONE\]\n\n$/);
    expectSameBytes(await reader.whole(), body);
    expect(await client.ended(id)).toMatchObject({ total_bytes: body.length });
  });

  it("a client that leaves the queue finds its answer later", async () => {
    const id = freshId();
    (await queued(id)).destroy();
    await client.stop(fillers[0] ?? "");
    await client.ended(id);
    expect((await (await client.replay(id)).whole()).toString()).toMatch(/data: \[DONE\]\n\n$/);
  });

  it("without a conversation id a client that leaves the queue is forgotten", async () => {
    client.sendPost(client.short()).destroy();
    await client.stop(fillers[0] ?? "");
    await client.busySlots(3);
  });

  it("DELETE of a waiting session is 204, and it never says a word", async () => {
    const id = freshId();
    const exchange = await queued(id);
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.replay(id)).status).toBe(404);
    await client.stop(fillers[0] ?? "");
    const answer = await exchange.answer;
    expect(answer.status).toBe(200);
    expect((await answer.whole()).toString()).not.toContain("data:");
  });
});
