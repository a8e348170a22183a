import { describe, expect, it } from "vitest";
import { logKey, logKeys, offsetOf, partKeys, recordKey } from "../../../src/conversation/log/row-keys.ts";

describe("keys", () => {
  it("are those that storage already holds", () => {
    const span = 2 ** 50;
    expect([recordKey(0), recordKey(1)]).toEqual([-1, -2]);
    expect([logKey(0, 7), logKey(1, 7)]).toEqual([7, span + 7]);
    expect([partKeys(0)[0], partKeys(1)[0]]).toEqual([-span, -2 * span]);
  });

  it("of one thing are never those of another", () => {
    const ranges = [partKeys(1), partKeys(0), [recordKey(1), recordKey(0) + 1] as const, logKeys(0), logKeys(1)];
    for (const [i, [from, to]] of ranges.entries()) {
      expect(from).toBeLessThan(to);
      expect(from).toBeGreaterThanOrEqual(ranges[i - 1]?.[1] ?? -Infinity);
      expect(Number.isSafeInteger(from) && Number.isSafeInteger(to)).toBe(true);
    }
  });

  it("of a log give back their offset", () => {
    for (const slot of [0, 1] as const) expect(offsetOf(slot, logKey(slot, 123_456_789_012))).toBe(123_456_789_012);
  });
});
