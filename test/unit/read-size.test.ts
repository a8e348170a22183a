import { describe, expect, it } from "vitest";
import { ReadSize } from "../../src/conversation/read-size.ts";

/** A stream of `bytesPerMs`, read for a second in pieces of 10 ms. */
function after(bytesPerMs: number): ReadSize {
  const size = new ReadSize(16_384);
  for (let now = 1_000; now <= 2_000; now += 10) size.add(10 * bytesPerMs, now);
  return size;
}

describe("a read from the origin", () => {
  it("waits for nothing at the beginning", () => {
    expect(new ReadSize(16_384).least(true)).toBe(1);
  });

  it("brings event by event what a model of 50 or of 500 tokens a second says to a reader", () => {
    expect(after(12).least(true)).toBe(1);
    expect(after(122).least(true)).toBe(1);
  });

  it("brings 2 ms of a faster stream at a time, and never more than fits", () => {
    expect(after(1_000).least(true)).toBe(2_000);
    expect(after(100_000).least(true)).toBe(16_384);
  });

  it("brings a quarter of a second at a time while nobody reads", () => {
    expect(after(12).least(false)).toBe(3_000);
    expect(after(1).least(false)).toBe(1);
  });
});
