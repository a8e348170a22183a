import { expect, it } from "vitest";
import { Barrier } from "../../../src/conversation/log/barrier.ts";

it("a barrier stands where the oldest was raised, and goes with the newest", async () => {
  const syncs = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let next = 0;
  const barrier = new Barrier(() => syncs[next++]?.promise ?? Promise.resolve());
  const liftFirst = barrier.raise(10);
  const liftSecond = barrier.raise(20);
  expect(barrier.at).toBe(10);
  const lifted = [liftFirst(), liftSecond()];
  syncs[0]?.resolve();
  await lifted[0];
  expect(barrier.at).toBe(10);
  syncs[1]?.resolve();
  await lifted[1];
  expect(barrier.at).toBeUndefined();
});

it("a barrier stays when the disk fails", async () => {
  const barrier = new Barrier(() => Promise.reject(new Error("the disk is full")));
  await expect(barrier.raise(10)()).rejects.toThrow("full");
  expect(barrier.at).toBe(10);
  barrier.remove();
  expect(barrier.at).toBeUndefined();
});
