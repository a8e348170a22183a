import { expectError, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId, streamPath } from "./client.ts";
import type { Rule } from "./rule.ts";

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

export const FROM: readonly Rule[] = [
  ...OFFSETS.map(([from, offset]) => ({
    name: `from=${from} is the offset ${offset}`,
    async run(client: Client) {
      const { id, body } = await finished(client);
      const replay = await client.replay(id, from);
      await expectStatus(replay, 200);
      expectSameBytes(await replay.whole(), body.subarray(offset));
    },
  })),
  {
    name: "at the end of a finished stream there is nothing more, and a clean end",
    async run(client) {
      const { id, body } = await finished(client);
      expectSameBytes(await (await client.replay(id, body.length)).whole(), Buffer.alloc(0));
      expectSameBytes(await (await client.replay(id, body.length + 1)).whole(), Buffer.alloc(0));
    },
  },
  ...["abc", "18446744073709551616", "--1", "%00"].map((from) => ({
    name: `from=${from} is no offset: 400`,
    async run(client: Client) {
      const { id } = await finished(client);
      await expectError(await client.replay(id, from), 400, "invalid_request_error");
    },
  })),
  ...["0", "abc"].map((from) => ({
    name: `of an unknown id, from=${from} is 404`,
    run: async (client: Client) => expectError(await client.replay(freshId(), from), 404, "not_found_error"),
  })),
  ...["/v1/stream", "/v1/stream?conv_id=", "/v1/stream?from=0"].map((path) => ({
    name: `GET ${path} names no id: 400`,
    async run(client: Client) {
      const { id } = await finished(client);
      const replay = await client.send("GET", path, { headers: { "x-conversation-id": id } }).answer;
      await expectError(replay, 400, "invalid_request_error");
    },
  })),
  ...["POST", "PUT", "PATCH"].map((method) => ({
    name: `${method} on a stream is 404`,
    async run(client: Client) {
      const { id } = await finished(client);
      await expectStatus(await client.send(method, streamPath(id), { body: "{}" }).answer, 404);
    },
  })),
];

async function finished(client: Client): Promise<{ id: string; body: Buffer }> {
  const id = freshId();
  return { id, body: await (await client.post(client.short(), { id })).whole() };
}
