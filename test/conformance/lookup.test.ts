import { afterEach, describe, expect, inject, it } from "vitest";
import { Client, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

describe.each(inject("targets"))("lookup on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  const finished = async (id = freshId()) => {
    await (await client.post(client.short({ max_tokens: 2 }), { id })).whole();
    await client.ended(id);
    return id;
  };
  const idsOf = async (...asked: unknown[]) => (await client.lookup(...asked)).map((row) => row.conversation_id);

  it("tells a finished session's size and times, in whole seconds", async () => {
    const before = Math.floor(Date.now() / 1000);
    const id = freshId();
    const body = await (await client.post(client.short(), { id })).whole();
    const row = await client.ended(id);
    const after = Math.ceil(Date.now() / 1000);
    expect(row).toMatchObject({ conversation_id: id, is_done: true, total_bytes: body.length });
    for (const time of [row.started_at, row.completed_at]) {
      expect(Number.isInteger(time)).toBe(true);
      expect(time).toBeGreaterThanOrEqual(before);
      expect(time).toBeLessThanOrEqual(after);
    }
    const theirs = ["completed_at", "conversation_id", "is_done", "started_at", "total_bytes"];
    await onEach(target, "more-in-a-lookup-row", {
      contract: () => expect(Object.keys(row).sort()).toEqual(theirs),
      holdfast() {
        expect(Object.keys(row)).toEqual(expect.arrayContaining(theirs));
        expect(row).toMatchObject({ session: expect.stringMatching(/./), end: "done", dropped_bytes: 0 });
      },
    });
  });

  it("shows a live session grow", async () => {
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    await post.readUntil(1000);
    const [row] = await client.lookup(id);
    expect(row).toMatchObject({ is_done: false, completed_at: 0 });
    await onEach(target, "more-in-a-lookup-row", {
      contract: () => expect(row).not.toHaveProperty("end"),
      holdfast: () => expect(row).toMatchObject({ end: null }),
    });
    const seen = row?.total_bytes ?? 0;
    expect(seen).toBeGreaterThanOrEqual(1000);
    await post.readUntil(seen + 1);
    const [later] = await client.lookup(id);
    expect(later?.total_bytes).toBeGreaterThan(seen);
  });

  it("keeps the order asked, repeats what is asked twice, and leaves unknown ids out", async () => {
    const [a, b] = [await finished(), await finished()];
    expect(await idsOf(b, a, freshId(), a)).toEqual([b, a, a]);
  });

  it("skips what is no id", async () => {
    const id = await finished();
    expect(await idsOf(5, null, "", {}, [id], id, true)).toEqual([id]);
  });

  it("by the bare id finds the session of a ::model, and nothing that only begins alike", async () => {
    const id = freshId();
    await finished(`${id}::org/model:7b`);
    await finished(`${id}7`);
    expect(await idsOf(id)).toEqual([`${id}::org/model:7b`]);
    expect(await idsOf(`${id}::org/model:7b`, id)).toEqual([`${id}::org/model:7b`, `${id}::org/model:7b`]);
    expect(await idsOf(`${id}::`, `${id}::org`)).toEqual([]);
  });

  it.each(["{}", "[]", "null", "5", '"x"', '{"conversation_ids":"x"}', '{"conversation_ids":[]}'])(
    "of %s finds nothing",
    async (body) => {
      const answer = await client.lookupBody(body);
      expect(answer.status).toBe(200);
      expect(await answer.json()).toEqual([]);
    },
  );

  it.each(["", "{", "conversation_ids"])("of %j, which is not JSON, is 400", async (body) => {
    const answer = await client.lookupBody(body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  it("of many ids", async () => {
    const id = await finished();
    const unknown = Array.from({ length: 60 }, () => freshId("nobody"));
    expect(await idsOf(...unknown, id)).toEqual([id]);
    const tooMany = await client.lookupBody({
      conversation_ids: Array.from({ length: 10_001 }, (_, n) => `nobody-${n}`),
    });
    await onEach(target, "a-limit-for-lookups", {
      async contract() {
        expect(tooMany.status).toBe(200);
        expect(await tooMany.json()).toEqual([]);
      },
      async holdfast() {
        expect(tooMany.status).toBe(400);
        expect(await tooMany.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
      },
    });
  });
});
