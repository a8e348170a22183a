import { afterEach, describe, expect, it, vi } from "vitest";
import { Backoff } from "../../../src/conversation/producer/backoff.ts";

/** The next waits where the chance has given `chance` each time. */
function waits(backoff: Backoff, count: number, chance: number): number[] {
  vi.spyOn(Math, "random").mockReturnValue(chance);
  return Array.from({ length: count }, () => backoff.next());
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("the wait before a try", () => {
  it("is none before the first, then 100 ms, and doubles up to 5 s", () => {
    expect(waits(new Backoff(), 10, 1)).toEqual([0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  });

  it("is half as long for some, so that not all connect at once", () => {
    expect(waits(new Backoff(), 9, 0)).toEqual([0, 50, 100, 200, 400, 800, 1_600, 2_500, 2_500]);
    expect(waits(new Backoff(), 3, 0.5)).toEqual([0, 75, 150]);
  });

  it("begins anew when the answer grew", () => {
    const backoff = new Backoff();
    waits(backoff, 9, 1);
    backoff.reset();
    expect(waits(backoff, 3, 1)).toEqual([0, 100, 200]);
  });
});
