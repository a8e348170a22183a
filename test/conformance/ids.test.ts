import { afterEach, describe, expect, inject, it } from "vitest";
import { Client, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

const IDS = [
  "plain",
  "a/b/c",
  "two  blanks",
  "tab\tinside",
  "café ⚓ 🐋",
  `"quoted" and 'so'`,
  "?#&=+;,",
  "back\\slash",
  "percent%2Fpercent%",
  "chat::org/model:7b",
  "::starts-with-colons",
  "..",
  "__proto__",
  "<script>",
];

describe.each(inject("targets"))("ids on $name", (target) => {
  const client = new Client(target);
  const other = new Client(target, target.otherKey);
  afterEach(() => client.cleanUp());

  it.each(IDS)("%s is an id for POST, GET, lookup and DELETE", async (name) => {
    const id = `${name} ${freshId()}`;
    const body = await (await client.post(client.short(), { id })).whole();
    expectSameBytes(await (await client.replay(id)).whole(), body);
    expect((await client.lookup(id)).map((row) => row.conversation_id)).toEqual([id]);
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.replay(id)).status).toBe(404);
  });

  it("in the query a plus is a blank, and an escape is decoded once", async () => {
    const id = freshId("a b%20c+d");
    const body = await (await client.post(client.short(), { id })).whole();
    const encoded = id.replace("a b%20c+d", "a+b%2520c%2Bd");
    expectSameBytes(await (await client.send("GET", `/v1/stream?conv_id=${encoded}`).answer).whole(), body);
  });

  it("a slash may stand in the query as it is", async () => {
    const id = freshId("a/b");
    const body = await (await client.post(client.short(), { id })).whole();
    expectSameBytes(await (await client.send("GET", `/v1/stream?conv_id=${id}`).answer).whole(), body);
  });

  it("blanks around an id do not count, and its case does", async () => {
    const id = freshId("Case");
    await (await client.post(client.short(), { headers: { "x-CONVERSATION-id": `  ${id} ` } })).whole();
    expect((await client.replay(id)).status).toBe(200);
    expect((await client.replay(id.toLowerCase())).status).toBe(404);
    await client.stop(id);
  });

  it("an empty id is none", async () => {
    const answer = await client.post(client.short(), { headers: { "x-conversation-id": "" } });
    expect((await answer.whole()).toString()).toMatch(/\[DONE\]\n\n$/);
    expect((await client.replay("")).status).toBe(400);
  });

  it("GET and DELETE of an id do not mean its ::model", async () => {
    const id = freshId();
    await (await client.post(client.short(), { id: `${id}::tiny` })).whole();
    expect((await client.replay(id)).status).toBe(404);
    expect((await client.stop(id)).status).toBe(204);
    expect((await client.replay(`${id}::tiny`)).status).toBe(200);
  });

  it("a conversation and its ::model", async () => {
    const id = freshId();
    const first = await client.post(client.endless(), { id });
    await first.readUntil(100);
    await (await client.post(client.endless(), { id: `${id}::tiny` })).readUntil(100);
    await onEach(target, "one-session-per-conversation", {
      async contract() {
        await client.busySlots(2);
        expect(first.ended).toBe(false);
        expect((await client.lookup(id)).map((row) => row.conversation_id).sort()).toEqual([id, `${id}::tiny`]);
        expect((await client.stop(id)).status).toBe(204);
        expect((await client.replay(`${id}::tiny`)).status).toBe(200);
      },
      async holdfast() {
        expect(await first.closed).toBe("clean");
        expect(first.text).toContain("conversation_replaced");
        await client.busySlots(1);
        expect((await client.lookup(id)).map((row) => row.conversation_id)).toEqual([`${id}::tiny`]);
        expect((await client.replay(id)).status).toBe(404);
      },
    });
  });

  it("an id of 512 bytes is fine", async () => {
    const id = freshId("x".repeat(512 - "-12345678".length));
    expect(id).toHaveLength(512);
    const body = await (await client.post(client.short(), { id })).whole();
    expectSameBytes(await (await client.replay(id)).whole(), body);
  });

  it.each([
    ["of more than 512 characters", "x".repeat(512)],
    ["of more than 512 bytes in fewer characters", "é".repeat(256)],
  ])("an id %s", async (_, name) => {
    const id = freshId(name);
    const answer = await client.post(client.short(), { id });
    await onEach(target, "limits-of-an-id", {
      async contract() {
        const body = await answer.whole();
        expectSameBytes(await (await client.replay(id)).whole(), body);
      },
      async holdfast() {
        expect(answer.status).toBe(400);
        expect(await answer.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
      },
    });
  });

  it("another key and the same id", async () => {
    const id = freshId();
    const post = await client.post(client.endless(), { id });
    await post.readUntil(100);
    const replay = await other.replay(id);
    const rows = await other.lookup(id);
    await onEach(target, "ids-belong-to-a-tenant", {
      async contract() {
        expect(replay.status).toBe(200);
        expect(rows).toHaveLength(1);
        expect((await other.stop(id)).status).toBe(204);
        expect(await post.closed).toBe("clean");
      },
      async holdfast() {
        expect(replay.status).toBe(404);
        expect(rows).toEqual([]);
        expect((await other.stop(id)).status).toBe(204);
        await post.readUntil(post.length + 1000);
        await (await other.post(other.short(), { id })).whole();
        await post.readUntil(post.length + 1000);
        expect((await client.replay(id)).status).toBe(200);
        await other.cleanUp();
      },
    });
  });
});
