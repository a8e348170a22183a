import { expect, it } from "vitest";
import { Health } from "../../../src/origin/health.ts";

it("is there until a request fails, and again when one is answered", () => {
  const health = new Health();
  expect(health.isAvailable).toBe(true);
  health.failed(1_000);
  expect(health.isAvailable).toBe(false);
  health.answered();
  expect(health.isAvailable).toBe(true);
});

it("is never checked while it is there", () => {
  const health = new Health();
  for (const now of [0, 10_000, 1_000_000]) expect(health.takeCheck(now)).toBe(false);
});

it("is checked by one request, two seconds after it failed", () => {
  const health = new Health();
  health.failed(1_000);
  expect(health.takeCheck(2_999)).toBe(false);
  expect([health.takeCheck(3_000), health.takeCheck(3_000), health.takeCheck(3_001)]).toEqual([true, false, false]);
});

it("is checked by another one where the first ended without an answer", () => {
  const health = new Health();
  health.failed(0);
  expect(health.takeCheck(2_000)).toBe(true);
  expect(health.takeCheck(5_999)).toBe(false);
  expect(health.takeCheck(6_000)).toBe(true);
});

it("is checked less and less often while it stays away, and at least every half minute", () => {
  const health = new Health();
  const checks: number[] = [];
  health.failed(0);
  for (let now = 0; now <= 120_000; now += 100) {
    if (!health.takeCheck(now)) continue;
    checks.push(now);
    health.failed(now + 10);
  }
  const gaps = checks.slice(1).map((at, i) => at - (checks[i] ?? 0));
  expect(checks[0]).toBe(2_000);
  expect(gaps.toSorted((a, b) => a - b)).toEqual(gaps);
  expect(gaps.at(-1)).toBeLessThanOrEqual(30_000);
  expect(checks.length).toBeLessThan(10);
});

it("takes a thousand requests that fail at once for one failure", () => {
  const health = new Health();
  for (let i = 0; i < 1_000; i++) health.failed(i);
  expect(health.takeCheck(2_000)).toBe(true);
});

it("is not away for one connection that broke, or for many at the same moment", () => {
  const health = new Health();
  for (const now of [1_000, 1_000, 1_010, 1_049]) health.broke(now);
  expect(health.isAvailable).toBe(true);
});

it("is away when connections break for a while, with no answer between them", () => {
  const health = new Health();
  for (const now of [1_000, 1_050]) health.broke(now);
  expect(health.isAvailable).toBe(false);
});

it("is not away for two connections that broke, with an answer between them, or long after one another", () => {
  const answering = new Health();
  answering.broke(1_000);
  answering.answered();
  answering.broke(1_100);
  expect(answering.isAvailable).toBe(true);
  const rare = new Health();
  for (const now of [1_000, 7_000, 13_000]) rare.broke(now);
  expect(rare.isAvailable).toBe(true);
});
