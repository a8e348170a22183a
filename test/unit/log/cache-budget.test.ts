import { describe, expect, it } from "vitest";
import { CacheBudget, isolateCache } from "../../../src/conversation/log/cache-budget.ts";

function owner(name: string, evicted: string[]) {
  return { evictOldest: () => void evicted.push(name) };
}

describe("the cache budget", () => {
  it("evicts the oldest pieces first, whoever owns them, until the rest fits", () => {
    const evicted: string[] = [];
    const [a, b] = [owner("a", evicted), owner("b", evicted)];
    const budget = new CacheBudget(100);
    budget.add(a, 40);
    budget.add(b, 30);
    budget.add(a, 30);
    expect(evicted).toEqual([]);
    budget.add(b, 1);
    expect(evicted).toEqual(["a"]);
    budget.add(b, 99);
    expect(evicted).toEqual(["a", "b", "a"]);
  });

  it("evicts a piece that is larger than the budget", () => {
    const evicted: string[] = [];
    const budget = new CacheBudget(10);
    budget.add(owner("large", evicted), 11);
    expect(evicted).toEqual(["large"]);
  });

  it("of an isolate is an eighth of its memory: 16 MiB", () => {
    const evicted: string[] = [];
    const log = owner("log", evicted);
    for (let i = 0; i < 16; i++) isolateCache.add(log, 1_048_576);
    expect(evicted).toEqual([]);
    isolateCache.add(log, 1);
    expect(evicted).toEqual(["log"]);
  });
});
