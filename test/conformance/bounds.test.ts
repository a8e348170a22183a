import { afterEach, describe, expect, inject, it } from "vitest";
import { Client, expectBeginning, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

const DEADLINE_MS = 30_000;

/** About 13 MB: what is retained, and as much again for all the socket buffers on the way to a client that stalls. */
const MORE_THAN_BUFFERS = 1500;

describe.each(inject("targets"))("more than is retained, on $name", { timeout: 60_000 }, (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  it("the newest bytes are kept, and an offset before them is 400", async () => {
    const id = freshId();
    const body = await (await client.post(client.huge(950), { id })).whole(DEADLINE_MS);
    expect(body.length).toBeGreaterThan(target.retainedBytes + 1_000_000);
    const row = await client.ended(id);
    expect(row.total_bytes).toBe(body.length);

    let start = body.length - target.retainedBytes;
    await onEach(target, "retained-size", {
      contract: () => expect(row).not.toHaveProperty("dropped_bytes"),
      holdfast() {
        expect(row.dropped_bytes).toBeGreaterThan(start - 256 * 1024);
        expect(row.dropped_bytes).toBeLessThanOrEqual(start);
        start = row.dropped_bytes ?? 0;
      },
    });
    for (const from of [start, start + 1, body.length - 100]) {
      expectSameBytes(await (await client.replay(id, from)).whole(DEADLINE_MS), body.subarray(from));
    }
    for (const from of [start - 1, 0, undefined]) {
      const lost = await client.replay(id, from);
      expect(lost.status).toBe(400);
      expect(await lost.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
    }
  });

  it("a reader that lags until its bytes are dropped gets only what is correct", async () => {
    const id = freshId();
    const post = await client.post(client.huge(MORE_THAN_BUFFERS), { id });
    const reader = await client.replay(id, 0, { stalled: true });
    const body = await post.whole(DEADLINE_MS);
    await client.ended(id);
    reader.resume();
    const ending = await reader.closed;
    expect(reader.length).toBeLessThan(body.length);
    expectBeginning(reader.bytes, body);
    await onEach(target, "a-reader-that-lags", {
      contract: () => expect(ending).toBe("clean"),
      holdfast: () => expect(ending).toBe("broken"),
    });
    expect((await client.replay(id, reader.length)).status).toBe(400);
  });

  it("a POST client that stalls", async () => {
    await client.busySlots(0);
    const id = freshId();
    const post = await client.post(client.huge(MORE_THAN_BUFFERS), { id, stalled: true });
    const reader = await client.replay(id);
    await onEach(target, "a-client-that-stalls", {
      async contract() {
        await client.busySlots(0);
        const [row] = await client.lookup(id);
        expect(row).toMatchObject({ is_done: false });
        expect(reader.ended).toBe(false);
        post.destroy();
      },
      holdfast() {},
    });
    const body = await reader.whole(DEADLINE_MS);
    expect(body.toString().endsWith("data: [DONE]\n\n")).toBe(true);
    expect(await client.ended(id)).toMatchObject({ total_bytes: body.length });
  });
});
