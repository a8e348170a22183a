/**
 * Usage in the shape of OpenAI's usage page: buckets of a day, each with one result per group. Our own numbers stand
 * beside theirs.
 */
import { addCounts, type Counts } from "./counts.ts";
import { DAY_MS } from "./key-registry.ts";
import type { UsageRow } from "./messages.ts";

const DAY_SECONDS = DAY_MS / 1_000;
const DEFAULT_DAYS = 7;
/** All that is kept, and some: a page is never longer. */
const MAX_DAYS = 92;
const GROUPS = ["model", "api_key_id", "user_id"] as const;

type Group = (typeof GROUPS)[number];

/** A row, and whose it is. */
export interface TenantUsageRow extends UsageRow {
  readonly tenant: string;
}

export interface UsageQuery {
  /** Days since 1970, UTC; the last one is not included. */
  readonly firstDay: number;
  readonly endDay: number;
  readonly groups: readonly Group[];
}

interface UsageResult {
  object: "organization.usage.completions.result";
  input_tokens: number;
  input_cached_tokens: number;
  output_tokens: number;
  num_model_requests: number;
  model: string | null;
  user_id: string | null;
  api_key_id: string | null;
  /** Requests of which no tokens are known: they are in no other sum. */
  unknown_requests: number;
  duration_ms: number;
  first_byte_ms: number;
  ends: Counts;
}

interface UsagePage {
  object: "page";
  data: { object: "bucket"; start_time: number; end_time: number; results: UsageResult[] }[];
  has_more: false;
  next_page: null;
}

/** The query of a URL, or what is wrong with it, in words. */
export function parseUsageQuery(params: URLSearchParams, now: number): UsageQuery | string {
  const today = Math.floor(now / DAY_MS);
  const width = params.get("bucket_width") ?? "1d";
  if (width !== "1d") return `bucket_width can only be 1d, got "${width.slice(0, 20)}"`;
  const limit = wholeNumber(params.get("limit") ?? String(DEFAULT_DAYS));
  if (limit === undefined || limit < 1 || limit > MAX_DAYS)
    return `limit must be a number of days from 1 to ${MAX_DAYS}`;
  const start = wholeNumber(params.get("start_time") ?? String((today - limit + 1) * DAY_SECONDS));
  if (start === undefined) return "start_time must be in Unix seconds";
  const firstDay = Math.floor(start / DAY_SECONDS);
  const end = wholeNumber(params.get("end_time") ?? String((today + 1) * DAY_SECONDS));
  if (end === undefined) return "end_time must be in Unix seconds";
  const endDay = Math.min(Math.ceil(end / DAY_SECONDS), firstDay + limit);
  const asked = [...params.getAll("group_by[]"), ...params.getAll("group_by")].flatMap((value) => value.split(","));
  const groups = GROUPS.filter((group) => asked.includes(group));
  const unknown = asked.find((name) => !GROUPS.some((group) => group === name));
  if (unknown !== undefined) return `group_by can be ${GROUPS.join(", ")}, got "${unknown.slice(0, 50)}"`;
  return { firstDay, endDay, groups };
}

export function usagePage(rows: readonly TenantUsageRow[], { firstDay, endDay, groups }: UsageQuery): UsagePage {
  const byDay = Map.groupBy(rows, ({ day }) => day);
  const days = Array.from({ length: Math.max(0, endDay - firstDay) }, (_, i) => firstDay + i);
  return {
    object: "page",
    data: days.map((day) => ({
      object: "bucket",
      start_time: day * DAY_SECONDS,
      end_time: (day + 1) * DAY_SECONDS,
      results: resultsOf(byDay.get(day) ?? [], groups),
    })),
    has_more: false,
    next_page: null,
  };
}

function resultsOf(rows: readonly TenantUsageRow[], groups: readonly Group[]): UsageResult[] {
  const nameIn = (row: TenantUsageRow, group: Group) => {
    if (!groups.includes(group)) return null;
    return { model: row.model, api_key_id: row.key, user_id: row.tenant }[group];
  };
  const grouped = Map.groupBy(rows, (row) => JSON.stringify(GROUPS.map((group) => nameIn(row, group))));
  return Array.from(grouped.values(), (members) => {
    const [row] = members;
    const name = (group: Group) => (row ? nameIn(row, group) : null);
    return resultOf(members, { model: name("model"), user_id: name("user_id"), api_key_id: name("api_key_id") });
  });
}

function resultOf(
  rows: readonly UsageRow[],
  names: Pick<UsageResult, "model" | "user_id" | "api_key_id">,
): UsageResult {
  const sum = (number: (row: UsageRow) => number) => rows.reduce((total, row) => total + number(row), 0);
  return {
    object: "organization.usage.completions.result",
    input_tokens: sum(({ input }) => input),
    input_cached_tokens: sum(({ cached }) => cached),
    output_tokens: sum(({ output }) => output),
    num_model_requests: sum(({ requests }) => requests),
    ...names,
    unknown_requests: sum(({ unknown }) => unknown),
    duration_ms: sum(({ durationMs }) => durationMs),
    first_byte_ms: sum(({ firstByteMs }) => firstByteMs),
    ends: addCounts(rows.map(({ ends }) => ends)),
  };
}

function wholeNumber(text: string): number | undefined {
  return /^[0-9]{1,12}$/.test(text) ? Number(text) : undefined;
}
