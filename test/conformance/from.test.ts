import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Client, expectSameBytes, freshId, streamPath } from "./client.ts";

const HUGE = Number.MAX_SAFE_INTEGER;

/** `from` as it stands in the query, and the offset that it means. */
const OFFSETS: ReadonlyArray<[from: string, offset: number]> = [
  ["", 0],
  ["0", 0],
  ["-0", 0],
  ["10", 10],
  ["010", 10],
  ["10abc", 10],
  ["1.5", 1],
  ["%205", 5],
  ["%2B5", 5],
  ["+5", 5],
  ["0x10", 0],
  ["5&from=7", 7],
  ["-1", HUGE],
  ["100000000", HUGE],
  ["18446744073709551615", HUGE],
];

describe.each(inject("targets"))("from on $name", (target) => {
  const client = new Client(target);
  const id = freshId();
  let body: Buffer;
  beforeAll(async () => {
    body = await (await client.post(client.short(), { id })).whole();
  });
  afterAll(() => client.cleanUp());

  it.each(OFFSETS)("from=%s is the offset %d", async (from, offset) => {
    const replay = await client.replay(id, from);
    expect(replay.status).toBe(200);
    expectSameBytes(await replay.whole(), body.subarray(offset));
  });

  it("at the end of a finished stream there is nothing more, and a clean end", async () => {
    expect(await (await client.replay(id, body.length)).whole()).toHaveLength(0);
    expect(await (await client.replay(id, body.length + 1)).whole()).toHaveLength(0);
  });

  it.each(["abc", "18446744073709551616", "--1", "%00"])("from=%s is no offset: 400", async (from) => {
    const replay = await client.replay(id, from);
    expect(replay.status).toBe(400);
    expect(await replay.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
  });

  it.each(["0", "abc"])("of an unknown id, from=%s is 404", async (from) => {
    const replay = await client.replay(freshId(), from);
    expect(replay.status).toBe(404);
    expect(await replay.json()).toMatchObject({ error: { code: 404, type: "not_found_error" } });
  });

  it.each(["/v1/stream", "/v1/stream?conv_id=", "/v1/stream?from=0"])("GET %s names no id: 400", async (path) => {
    const replay = await client.send("GET", path, { headers: { "x-conversation-id": id } }).answer;
    expect(replay.status).toBe(400);
    expect(await replay.json()).toMatchObject({ error: { code: 400, type: "invalid_request_error" } });
  });

  it.each(["POST", "PUT", "PATCH"])("%s on a stream is 404", async (method) => {
    expect((await client.send(method, streamPath(id), { body: "{}" }).answer).status).toBe(404);
  });
});
