import { describe, expect, it } from "vitest";
import { SlidingWindow, WINDOW_MS } from "../../../src/tenant/sliding-window.ts";
import { Random } from "../../support/random.ts";

describe("a window of a minute", () => {
  it("never accepts more than the limit in any 60 s, and refuses only when it would", () => {
    const random = new Random();
    for (let run = 0; run < 200; run++) {
      const limit = random.between(1, 8);
      const window = new SlidingWindow();
      const accepted: number[] = [];
      let now = 1_000_000;
      for (let request = 0; request < 100; request++) {
        now += random.between(0, 30_000);
        const inWindow = accepted.filter((time) => time > now - WINDOW_MS).length;
        const isAccepted = window.left(now, limit).remaining > 0;
        expect(isAccepted, `limit ${limit}, ${inWindow} within the minute before ${now}`).toBe(inWindow < limit);
        if (isAccepted) {
          window.accept(now);
          accepted.push(now);
        } else {
          const wait = window.waitMs(now, limit);
          expect(new SlidingWindow(accepted).left(now + wait - 1, limit).remaining).toBe(0);
          expect(new SlidingWindow(accepted).left(now + wait, limit).remaining).toBeGreaterThan(0);
        }
      }
    }
  });

  it("is exact at the boundary", () => {
    const window = new SlidingWindow([0]);
    expect(window.left(WINDOW_MS - 1, 1).remaining).toBe(0);
    expect(window.waitMs(WINDOW_MS - 1, 1)).toBe(1);
    expect(window.left(WINDOW_MS, 1).remaining).toBe(1);
    expect(new SlidingWindow([0]).waitMs(WINDOW_MS + 5, 1)).toBe(0);
  });

  it("is full for good with a limit of 0", () => {
    const window = new SlidingWindow();
    expect(window.left(5, 0).remaining).toBe(0);
    expect(window.waitMs(5, 0)).toBe(WINDOW_MS);
  });

  it("does not open for a clock that steps back", () => {
    const window = new SlidingWindow();
    window.accept(100_000);
    window.accept(90_000);
    expect(window.left(159_999, 2).remaining).toBe(0);
    expect(window.left(160_000, 2).remaining).toBe(2);
  });

  it("tells when it opens by the time that it went by, not by a clock that has stepped back", () => {
    const window = new SlidingWindow();
    window.accept(100_000);
    window.accept(90_000);
    expect(window.waitMs(110_000, 1)).toBe(50_000);
    expect(window.left(110_000, 2)).toEqual({ limit: 2, remaining: 0, resetMs: 50_000 });
  });

  it("takes the times of before a restart in any order", () => {
    const window = new SlidingWindow([30_000, 10_000, 20_000]);
    expect(window.waitMs(31_000, 3)).toBe(39_000);
    expect(window.left(31_000, 3).resetMs).toBe(59_000);
  });

  it("has nothing left, and not less, where the limit was lowered", () => {
    expect(new SlidingWindow([0, 0, 0]).left(1, 1).remaining).toBe(0);
    expect(new SlidingWindow([0, 1, 2]).waitMs(3, 1)).toBe(WINDOW_MS - 1);
  });
});
