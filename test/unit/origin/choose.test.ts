import { describe, expect, it } from "vitest";
import { type Candidate, matches, rank } from "../../../src/origin/choose.ts";
import type { ModelStatus } from "../../../src/origin/models.ts";

const ATTIC = candidate("attic");
const CELLAR = candidate("cellar");
const SHED = candidate("shed");

function candidate(name: string, more: Partial<Candidate> = {}): Candidate {
  return { name, weight: 1, models: [], listed: undefined, isAvailable: true, ...more };
}

function listing(models: Record<string, ModelStatus>): { listed: ReadonlyMap<string, ModelStatus> } {
  return { listed: new Map(Object.entries(models)) };
}

function firstOf(candidates: Candidate[], key: string): string | undefined {
  return rank(candidates, { model: undefined, key })[0];
}

const IDS = Array.from({ length: 10_000 }, (_, i) => `alice/chat-${i}`);

describe("the share of each origin", () => {
  it.each([[[1, 1, 1]], [[1, 2, 3]], [[0.5, 4]], [[1, 1, 1, 1, 1]]])(
    "is within 5 % of its weight over 10,000 conversations: %j",
    (weights) => {
      const origins = weights.map((weight, i) => candidate(`origin-${i}`, { weight }));
      const total = weights.reduce((sum, weight) => sum + weight);
      const counts = Map.groupBy(IDS, (id) => firstOf(origins, id));
      for (const { name, weight } of origins) {
        const expected = (IDS.length * weight) / total;
        const got = counts.get(name)?.length ?? 0;
        expect(Math.abs(got - expected) / expected, `${name}: ${got} of ${expected}`).toBeLessThan(0.05);
      }
    },
  );

  it("moves only the conversations of an origin that is taken away, and to all of the others", () => {
    const origins = [ATTIC, CELLAR, SHED];
    const moved = IDS.filter((id) => firstOf(origins, id) !== firstOf([ATTIC, SHED], id));
    expect(moved).toEqual(IDS.filter((id) => firstOf(origins, id) === "cellar"));
    expect(new Set(moved.map((id) => firstOf([ATTIC, SHED], id)))).toEqual(new Set(["attic", "shed"]));
  });

  it("does not depend on the order in which the origins are configured", () => {
    for (const id of IDS.slice(0, 100)) {
      expect(firstOf([ATTIC, CELLAR, SHED], id)).toBe(firstOf([SHED, ATTIC, CELLAR], id));
    }
  });
});

describe("the ranking", () => {
  it("tries every origin, each of them once", () => {
    const order = rank([ATTIC, CELLAR, SHED], { model: undefined, key: "a/1" });
    expect(order.toSorted()).toEqual(["attic", "cellar", "shed"]);
  });

  it("prefers the origin that the conversation used last, also where its model is not loaded any more", () => {
    const loaded = candidate("attic", listing({ qwen: "loaded" }));
    const unloaded = candidate("cellar", listing({ qwen: "unloaded" }));
    for (const key of IDS.slice(0, 50)) {
      expect(rank([loaded, unloaded], { model: "qwen", key, last: "cellar" })[0]).toBe("cellar");
    }
  });

  it("leaves the last origin where that is away, or does not serve the model", () => {
    const away = candidate("cellar", { isAvailable: false });
    expect(rank([ATTIC, away], { model: undefined, key: "k", last: "cellar" })).toEqual(["attic", "cellar"]);
    const other = candidate("cellar", listing({ gemma: "loaded" }));
    const qwen = candidate("attic", listing({ qwen: "unloaded" }));
    expect(rank([qwen, other], { model: "qwen", key: "k", last: "cellar" })).toEqual(["attic"]);
  });

  it("ignores a last origin that is not configured any more", () => {
    expect(rank([ATTIC], { model: undefined, key: "k", last: "gone" })).toEqual(["attic"]);
  });

  it("prefers loaded to sleeping to unloaded, whatever the hash says", () => {
    const origins = [
      candidate("attic", listing({ qwen: "unloaded" })),
      candidate("cellar", listing({ qwen: "sleeping" })),
      candidate("shed", listing({ qwen: "loaded" })),
    ];
    for (const key of IDS.slice(0, 50)) {
      expect(rank(origins, { model: "qwen", key })).toEqual(["shed", "cellar", "attic"]);
    }
  });

  it("leaves it to the hash whether a model that loads or one that sleeps is asked, both after one that is loaded", () => {
    const origins = [
      candidate("attic", listing({ qwen: "loading" })),
      candidate("cellar", listing({ qwen: "sleeping" })),
      candidate("shed", listing({ qwen: "loaded" })),
    ];
    const orders = IDS.slice(0, 50).map((key) => rank(origins, { model: "qwen", key }).join());
    expect(new Set(orders)).toEqual(new Set(["shed,attic,cellar", "shed,cellar,attic"]));
  });

  it("puts origins that are away last, and asks even them where there is no other", () => {
    const away = { isAvailable: false };
    const order = rank([candidate("attic", away), CELLAR, candidate("shed", away)], { model: undefined, key: "k" });
    expect(order[0]).toBe("cellar");
    expect(rank([candidate("attic", away)], { model: undefined, key: "k" })).toEqual(["attic"]);
  });
});

describe("who serves a model", () => {
  const serving = (candidates: Candidate[], model: string) => rank(candidates, { model, key: "k" }).toSorted();

  it("is who lists it", () => {
    const origins = [
      candidate("attic", listing({ qwen: "loaded" })),
      candidate("cellar", listing({ gemma: "loaded" })),
      SHED,
    ];
    expect(serving(origins, "qwen")).toEqual(["attic"]);
  });

  it("is, of a model that nobody lists, who has not said what it has", () => {
    expect(serving([candidate("attic", listing({ qwen: "loaded" })), SHED], "gemma")).toEqual(["shed"]);
  });

  it("is everybody, of a name that all have said they do not know: a server with one model answers to any", () => {
    const origins = [
      candidate("attic", listing({ qwen: "loaded" })),
      candidate("cellar", listing({ gemma: "loaded" })),
    ];
    expect(serving(origins, "gpt-4o")).toEqual(["attic", "cellar"]);
  });

  it("is nobody whose configuration excludes the model, even if it lists it", () => {
    const qwenOnly = candidate("attic", { models: ["qwen*"], ...listing({ gemma: "loaded", qwen3: "loaded" }) });
    expect(serving([qwenOnly, SHED], "gemma")).toEqual(["shed"]);
    expect(serving([qwenOnly], "gemma")).toEqual([]);
    expect(serving([qwenOnly], "qwen3")).toEqual(["attic"]);
  });
});

describe("a glob", () => {
  it.each([
    ["qwen*", "qwen3-coder", true],
    ["qwen*", "Qwen3", false],
    ["*", "", true],
    ["*coder*", "qwen3-coder-30b", true],
    ["*-q4", "a-q4-q4", true],
    ["a*b*c", "a-c-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["aa*aa", "aaa", false],
    ["a*b*b", "ab", false],
    ["*ab*ba*", "aba", false],
    ["a*b*a*z", "abz", false],
    ["qwen3", "qwen3", true],
    ["qwen3", "qwen3.5", false],
    ["q.en", "qwen", false],
  ])("%s on %s: %s", (glob, model, expected) => {
    expect(matches(glob, model)).toBe(expected);
  });

  it("takes no longer for a name that was made to be slow", () => {
    const before = performance.now();
    expect(matches(`${"a*".repeat(40)}b`, "a".repeat(1_000))).toBe(false);
    expect(performance.now() - before).toBeLessThan(50);
  });
});
