import { describe, expect, it } from "vitest";
import { matchesGlob, parseLimits } from "../../../src/tenant/limits.ts";

describe("the owner's limits", () => {
  it("are read from JSON, and null takes one away", () => {
    expect(parseLimits({ rpm: 60, live: 0, bytes: 1, body: 5, models: ["qwen*"] })).toEqual({
      rpm: 60,
      live: 0,
      bytes: 1,
      body: 5,
      models: ["qwen*"],
    });
    expect(parseLimits({ rpm: null, live: 2 })).toEqual({ live: 2 });
  });

  it.each([
    [null, "Limits must be a JSON object"],
    [[], "Limits must be a JSON object"],
    [{ rpm: -1 }, '"rpm" must be a whole number from 0 to 100000'],
    [{ rpm: 1.5 }, '"rpm" must be a whole number from 0 to 100000'],
    [{ live: "2" }, '"live" must be a whole number from 0 to 10000'],
    [{ models: [] }, '"models" must be a list of 1 to 100 globs like "qwen*"'],
    [{ models: [1] }, '"models" must be a list of 1 to 100 globs like "qwen*"'],
    [{ tpm: 1 }, 'There is no limit "tpm"; there are rpm, live, bytes, body and models'],
    [{ constructor: 1 }, 'There is no limit "constructor"; there are rpm, live, bytes, body and models'],
  ])("%j: %s", (value, problem) => {
    expect(parseLimits(value)).toBe(problem);
  });
});

describe("a glob", () => {
  it.each([
    ["qwen*", "qwen3-8b", true],
    ["qwen*", "my-qwen", false],
    ["*", "", true],
    ["*-8b", "qwen3-8b", true],
    ["a*b*c", "a-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["ab*ba", "aba", false],
    ["a.c", "abc", false],
    ["exact", "exact", true],
    ["exact", "exactly", false],
    ["a**b", "ab", true],
  ])("%s on %s: %s", (glob, name, isMatch) => {
    expect(matchesGlob([glob], name)).toBe(isMatch);
  });

  it("is linear in the name", () => {
    const started = performance.now();
    expect(matchesGlob([`${"a*".repeat(99)}b`], "a".repeat(100_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(100);
  });
});
