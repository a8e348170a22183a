import { describe, expect, it } from "vitest";
import { type ModelList, mergeModels, parseModels } from "../../../src/origin/models.ts";

function list(...data: object[]): ModelList {
  const parsed = parseModels(JSON.stringify({ object: "list", data }));
  if (!parsed) throw new Error("No list");
  return parsed;
}

describe("a list of models", () => {
  it("knows a model by its id and by its aliases", () => {
    expect(list({ id: "qwen3", aliases: ["qwen", "coder"] }).statuses).toEqual(
      new Map([
        ["qwen3", "loaded"],
        ["qwen", "loaded"],
        ["coder", "loaded"],
      ]),
    );
  });

  it("reads a router's states, and takes what it does not know for not loaded", () => {
    const rows = ["loaded", "sleeping", "loading", "unloaded", "downloading", "failed"].map((value) => ({
      id: value,
      status: { value },
    }));
    expect([...list(...rows).statuses.values()]).toEqual([
      ...["loaded", "sleeping", "loading", "unloaded", "unloaded", "unloaded"],
    ]);
  });

  it.each(["", "<html>", "[]", "null", '{"data":{}}', '{"error":{"code":401}}', '{"object":"list","data":[{"id":'])(
    "is not %j",
    (text) => {
      expect(parseModels(text)).toBeUndefined();
    },
  );

  it("skips rows that are none, and reads no more than a thousand", () => {
    const rows = [null, 1, "a", [], {}, { id: 7 }, { id: "" }, { id: "a", aliases: 7 }, { id: "b", aliases: [7, "c"] }];
    expect([...list(...(rows as object[])).statuses.keys()]).toEqual(["a", "b", "c"]);
    const many = Array.from({ length: 1_500 }, (_, i) => ({ id: `m${i}` }));
    expect(list(...many).statuses.size).toBe(1_000);
  });
});

describe("the merged list", () => {
  it("names each row's origin", () => {
    const merged = mergeModels(
      new Map([
        ["attic", list({ id: "qwen", object: "model" })],
        ["cellar", list({ id: "gemma", object: "model" })],
      ]),
    );
    expect(merged).toEqual({
      object: "list",
      data: [
        { id: "qwen", object: "model", origin: "attic", origins: ["attic"] },
        { id: "gemma", object: "model", origin: "cellar", origins: ["cellar"] },
      ],
    });
  });

  it("has one row for a model that several have: the one of the origin where it is soonest ready", () => {
    const merged = mergeModels(
      new Map([
        ["attic", list({ id: "qwen", status: { value: "unloaded" } })],
        ["cellar", list({ id: "qwen", status: { value: "loaded" } })],
        ["shed", list({ id: "qwen", status: { value: "sleeping" } })],
      ]),
    );
    expect(merged.data).toEqual([
      { id: "qwen", status: { value: "loaded" }, origin: "cellar", origins: ["attic", "cellar", "shed"] },
    ]);
  });

  it("merges the rows in Ollama's shape by their model, where there are any", () => {
    const both = parseModels(JSON.stringify({ data: [{ id: "q" }], models: [{ model: "q", name: "q" }] }));
    if (!both) throw new Error("No list");
    expect(mergeModels(new Map([["attic", both]])).models).toEqual([
      { model: "q", name: "q", origin: "attic", origins: ["attic"] },
    ]);
    expect(mergeModels(new Map([["attic", list({ id: "q" })]]))).not.toHaveProperty("models");
  });

  it("does not let an origin say that it is another one", () => {
    const merged = mergeModels(new Map([["attic", list({ id: "q", origin: "cellar", origins: ["cellar"] })]]));
    expect(merged.data).toEqual([{ id: "q", origin: "attic", origins: ["attic"] }]);
  });
});
