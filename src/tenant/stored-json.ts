/** What the tenant's object keeps as JSON in a column, checked when it is read back: another version may have written it. */
import type { LookupRow } from "../protocol.ts";
import type { Counts, OriginCounts } from "./counts.ts";
import { parseLimits } from "./limits.ts";
import type { Limits } from "./messages.ts";

/** Throws when the text is no limits: forgetting them silently would let through what the owner forbade. */
export function storedLimits(text: string): Limits {
  const limits = parseLimits(JSON.parse(text));
  if (typeof limits === "string") throw new Error(`Stored limits cannot be read: ${limits}`);
  return limits;
}

/** How many ended how; what is no count is not there. */
export function storedCounts(text: string): Counts {
  return countsIn(JSON.parse(text));
}

/** What each origin had to do, by its name; what is no count is not there. */
export function storedOrigins(text: string): Map<string, OriginCounts> {
  const origins: unknown = JSON.parse(text);
  return new Map(
    entriesOf(origins).map(([name, value]) => {
      const fields = new Map(entriesOf(value));
      const { requests = 0, reattached = 0 } = countsIn(value);
      return [name, { requests, reattached, ends: countsIn(fields.get("ends")) }];
    }),
  );
}

function countsIn(value: unknown): Counts {
  return Object.fromEntries(
    entriesOf(value).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

/** `undefined` when it is no row: the conversation itself still says all of it. */
export function storedRow(text: string): LookupRow | undefined {
  const row: unknown = JSON.parse(text);
  return isLookupRow(row) ? row : undefined;
}

const FIELDS: Readonly<Record<keyof LookupRow, (value: unknown) => boolean>> = {
  conversation_id: isString,
  is_done: (value) => typeof value === "boolean",
  total_bytes: isNumber,
  started_at: isNumber,
  completed_at: isNumber,
  session: isString,
  end: (value) => value === null || isString(value),
  dropped_bytes: isNumber,
  reattached: isNumber,
  origin: (value) => value === null || isString(value),
};

function isLookupRow(value: unknown): value is LookupRow {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  return Object.entries(FIELDS).every(([name, isRight]) => isRight(fields.get(name)));
}

function isString(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}
