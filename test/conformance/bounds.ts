import assert from "node:assert/strict";
import { expectBeginning, expectDone, expectError, expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, freshId } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Rule } from "./rule.ts";

const DEADLINE_MS = 30_000;
/** Holdfast drops whole rows of its table, whose size is a matter of its own. */
const LARGEST_ROW = 256 * 1024;

/** About 13 MB: what is retained, and as much again for all the socket buffers on the way to a client that stalls. */
const MORE_THAN_BUFFERS = 1500;

/** More than is retained. */
export const BOUNDS: readonly Rule[] = [
  {
    name: "the newest bytes are kept, and an offset before them is 400",
    needs: ["suite"],
    run: theNewestBytesAreKept,
  },
  {
    name: "a reader that lags until its bytes are dropped gets only what is correct",
    needs: ["suite"],
    async run(client) {
      const id = freshId();
      const post = await client.post(client.huge(MORE_THAN_BUFFERS), { id });
      const reader = await client.replay(id, 0, { stalled: true });
      const body = await post.whole(DEADLINE_MS);
      await client.ended(id);
      reader.resume();
      const ending = await reader.closed;
      assert.ok(reader.length < body.length);
      expectBeginning(reader.bytes, body);
      await onEach(client.target, "a-reader-that-lags", {
        contract: () => assert.equal(ending, "clean"),
        holdfast: () => assert.equal(ending, "broken"),
      });
      await expectStatus(await client.replay(id, reader.length), 400);
    },
  },
  {
    name: "a POST client that stalls",
    needs: ["origin", "suite"],
    async run(client) {
      await client.busySlots(0);
      const id = freshId();
      const post = await client.post(client.huge(MORE_THAN_BUFFERS), { id, stalled: true });
      const reader = await client.replay(id);
      await onEach(client.target, "a-client-that-stalls", {
        async contract() {
          await client.busySlots(0);
          expectMatch(await client.lookup(id), [{ is_done: false }]);
          assert.equal(reader.ended, false);
          post.destroy();
        },
        holdfast() {},
      });
      const body = await reader.whole(DEADLINE_MS);
      expectDone(body);
      expectMatch(await client.ended(id), { total_bytes: body.length });
    },
  },
];

async function theNewestBytesAreKept(client: Client): Promise<void> {
  const { retainedBytes } = client.suite;
  const id = freshId();
  const body = await (await client.post(client.huge(950), { id })).whole(DEADLINE_MS);
  assert.ok(body.length > retainedBytes + 1_000_000, `${body.length} bytes`);
  const row = await client.ended(id);
  assert.equal(row.total_bytes, body.length);

  let start = body.length - retainedBytes;
  await onEach(client.target, "retained-size", {
    contract: () => assert.ok(!("dropped_bytes" in row)),
    holdfast() {
      const dropped = row.dropped_bytes ?? 0;
      assert.ok(dropped > start - LARGEST_ROW && dropped <= start, `${dropped} dropped, of ${start}`);
      start = dropped;
    },
  });
  for (const from of [start, start + 1, body.length - 100]) {
    expectSameBytes(await (await client.replay(id, from)).whole(), body.subarray(from));
  }
  for (const from of [start - 1, 0, undefined]) {
    await expectError(await client.replay(id, from), 400, "invalid_request_error");
  }
}
