import { describe, expect, it } from "vitest";
import { SpareMemory } from "../../src/conversation/spare-memory.ts";

function owner(name: string, dropped: string[]) {
  return { dropOldestSpare: () => void dropped.push(name) };
}

describe("spare memory", () => {
  it("makes those let go first who have kept something for the longest, until the rest fits", () => {
    const dropped: string[] = [];
    const [a, b] = [owner("a", dropped), owner("b", dropped)];
    const memory = new SpareMemory(100);
    memory.keep(a, 40);
    memory.keep(b, 30);
    memory.keep(a, 30);
    expect(dropped).toEqual([]);
    memory.keep(b, 1);
    expect(dropped).toEqual(["a"]);
    memory.keep(b, 99);
    expect(dropped).toEqual(["a", "b", "a"]);
  });

  it("does not let one piece stay that is larger than all of it", () => {
    const dropped: string[] = [];
    const memory = new SpareMemory(10);
    memory.keep(owner("large", dropped), 11);
    expect(dropped).toEqual(["large"]);
  });
});
