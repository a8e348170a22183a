/** What another version of the tenant's object may have left in its columns. */
import { describe, expect, it } from "vitest";
import { storedCounts, storedLimits, storedRow } from "../../../src/tenant/stored-json.ts";

const ROW = {
  conversation_id: "c",
  is_done: true,
  total_bytes: 3,
  started_at: 1,
  completed_at: 2,
  session: "s",
  end: "done",
  dropped_bytes: 0,
  reattached: 0,
  origin: null,
};

describe("stored limits", () => {
  it("are read as they were written", () => {
    expect(storedLimits('{"rpm":60,"models":["q*"]}')).toEqual({ rpm: 60, models: ["q*"] });
  });

  it("that cannot be read are an error, never no limit", () => {
    expect(() => storedLimits('{"rpm":"sixty"}')).toThrow('"rpm" must be a whole number');
    expect(() => storedLimits("[]")).toThrow("must be a JSON object");
  });
});

describe("a stored row", () => {
  it("is read as it was written", () => {
    expect(storedRow(JSON.stringify(ROW))).toEqual(ROW);
  });

  it.each(Object.keys(ROW))("without a right %s is none: the conversation says it", (field) => {
    expect(storedRow(JSON.stringify({ ...ROW, [field]: {} }))).toBeUndefined();
    expect(storedRow(JSON.stringify({ ...ROW, [field]: undefined }))).toBeUndefined();
  });
});

it("stored counts are read as they were written, but for what is no count", () => {
  expect(storedCounts('{"done":2,"stopped":"x"}')).toEqual({ done: 2 });
  expect(storedCounts("null")).toEqual({});
});
