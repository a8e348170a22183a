import { describe, expect, it } from "vitest";
import { parseUsageQuery, type TenantUsageRow, usagePage } from "../../../src/tenant/usage-page.ts";

const TODAY = 20_000;
const NOW = TODAY * 86_400_000 + 3_600_000;

function row(more: Partial<TenantUsageRow>): TenantUsageRow {
  return {
    tenant: "alice",
    day: TODAY,
    model: "tiny",
    key: "phone",
    requests: 1,
    unknown: 0,
    input: 10,
    cached: 4,
    output: 2,
    durationMs: 100,
    firstByteMs: 20,
    ends: { done: 1 },
    ...more,
  };
}

const parse = (query: string) => parseUsageQuery(new URLSearchParams(query), NOW);

describe("a usage query", () => {
  it("means the last seven days, today included, unless it says another time", () => {
    expect(parse("")).toEqual({ firstDay: TODAY - 6, endDay: TODAY + 1, groups: [] });
    const day = (n: number) => n * 86_400;
    expect(parse(`start_time=${day(100) + 5}&end_time=${day(102)}&limit=31`)).toMatchObject({
      firstDay: 100,
      endDay: 102,
    });
    expect(parse(`start_time=${day(100)}&limit=1`)).toMatchObject({ firstDay: 100, endDay: 101 });
    expect(parse("group_by[]=model&group_by[]=api_key_id")).toMatchObject({ groups: ["model", "api_key_id"] });
    expect(parse("group_by=model,api_key_id")).toMatchObject({ groups: ["model", "api_key_id"] });
  });

  it.each([
    ["bucket_width=1h", 'bucket_width can only be 1d, got "1h"'],
    ["limit=0", "limit must be a number of days from 1 to 92"],
    ["limit=93", "limit must be a number of days from 1 to 92"],
    ["start_time=yesterday", "start_time must be in Unix seconds"],
    ["end_time=-1", "end_time must be in Unix seconds"],
    ["group_by[]=project_id", 'group_by can be model, api_key_id, user_id, got "project_id"'],
  ])("%s: %s", (query, problem) => {
    expect(parse(query)).toBe(problem);
  });
});

describe("a usage page", () => {
  const rows = [
    row({}),
    row({ model: "big", requests: 2, unknown: 1, ends: { done: 1, stopped: 1 } }),
    row({ key: "laptop" }),
    row({ tenant: "bob", day: TODAY - 1 }),
  ];
  const query = { firstDay: TODAY - 1, endDay: TODAY + 1 };

  it("has a bucket per day, and one result for all where nothing is grouped", () => {
    const page = usagePage(rows, { ...query, groups: [] });
    expect(page).toMatchObject({ object: "page", has_more: false, next_page: null });
    expect(page.data.map(({ start_time, end_time }) => [start_time, end_time])).toEqual([
      [(TODAY - 1) * 86_400, TODAY * 86_400],
      [TODAY * 86_400, (TODAY + 1) * 86_400],
    ]);
    expect(page.data[1]?.results).toEqual([
      {
        object: "organization.usage.completions.result",
        input_tokens: 30,
        input_cached_tokens: 12,
        output_tokens: 6,
        num_model_requests: 4,
        model: null,
        user_id: null,
        api_key_id: null,
        unknown_requests: 1,
        duration_ms: 300,
        first_byte_ms: 60,
        ends: { done: 3, stopped: 1 },
      },
    ]);
  });

  it("groups by what is asked for, and by nothing else", () => {
    const page = usagePage(rows, { ...query, groups: ["model", "user_id"] });
    const groups = page.data[1]?.results.map(({ model, user_id, api_key_id, input_tokens }) => [
      model,
      user_id,
      api_key_id,
      input_tokens,
    ]);
    expect(groups).toEqual([
      ["tiny", "alice", null, 20],
      ["big", "alice", null, 10],
    ]);
  });

  it("has empty buckets for days without any", () => {
    const page = usagePage([], { ...query, groups: [] });
    expect(page.data.map(({ results }) => results)).toEqual([[], []]);
  });
});
