import { afterEach, describe, expect, inject, it } from "vitest";
import { Client, expectSameBytes, freshId, streamPath } from "./client.ts";
import { onEach } from "./differences.ts";

const STOPPED = ": holdfast end=stopped\n\n";

describe.each(inject("targets"))("DELETE on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  it("ends every reader cleanly without a terminator, frees the slot, and leaves nothing", async () => {
    await client.busySlots(0);
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    await post.readUntil(1000);
    const reader = await client.replay(id);
    await reader.readUntil(1000);
    await client.busySlots(1);

    const answer = await client.stop(id);
    expect(answer.status).toBe(204);
    expect(await answer.whole()).toHaveLength(0);
    await client.busySlots(0);
    const bodies = [await post.whole(), await reader.whole()];
    for (const body of bodies) {
      expect(body.toString()).not.toContain("[DONE]");
      expect(body.toString()).not.toContain('"error"');
      await onEach(target, "end-of-a-stopped-stream", {
        contract: () => expect(body.toString()).not.toContain(STOPPED),
        holdfast: () => expect(body.toString().endsWith(STOPPED)).toBe(true),
      });
    }
    expect((await client.replay(id)).status).toBe(404);
    expect(await client.lookup(id)).toEqual([]);
  });

  it("stops a generation that nobody reads", async () => {
    await client.busySlots(0);
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    await post.readUntil(1000);
    post.destroy();
    await post.closed;
    await client.busySlots(1);
    expect((await client.stop(id)).status).toBe(204);
    await client.busySlots(0);
    expect((await client.replay(id)).status).toBe(404);
  });

  it("is 204 for a finished, a stopped and an unknown id", async () => {
    const id = freshId();
    await (await client.post(client.short(), { id })).whole();
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.replay(id)).status).toBe(404);
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.stop(freshId())).status).toBe(204);
  });

  it("ignores a body and an offset", async () => {
    const id = freshId();
    await (await client.post(client.short(), { id })).whole();
    const answer = await client.send("DELETE", `${streamPath(id)}&from=abc`, { body: "{}" }).answer;
    expect(answer.status).toBe(204);
    expect((await client.replay(id)).status).toBe(404);
  });

  it("without an id is 400", async () => {
    const answer = await client.send("DELETE", "/v1/stream").answer;
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
  });

  it("leaves the id free for another session, whose offsets start at 0", async () => {
    const id = freshId();
    await (await client.post(client.endless(), { id })).readUntil(1000);
    await client.stop(id);
    const body = await (await client.post(client.short({ seed: 8 }), { id })).whole();
    expectSameBytes(await (await client.replay(id)).whole(), body);
  });

  it("of one conversation leaves the others alone", async () => {
    const id = freshId();
    const post = await client.post(client.unhurried(), { id });
    await post.readUntil(500);
    const neighbour = freshId();
    await (await client.post(client.endless(), { id: neighbour })).readUntil(500);
    await client.stop(neighbour);
    expect((await post.whole()).toString().endsWith("data: [DONE]\n\n")).toBe(true);
  });
});
