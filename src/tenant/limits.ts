/** Limits as the owner writes them: `{"rpm":60,"live":2,"bytes":1073741824,"body":1048576,"models":["qwen*"]}`. */
import type { Limits } from "./messages.ts";

/** The most that the owner can set each to. */
const MOST = {
  // A window of a minute holds a number for each in memory; more than this is no limit any more.
  rpm: 100_000,
  live: 10_000,
  // A Durable Object holds 10 GB; a tenant has many.
  bytes: 2 ** 50,
  body: 100_000_000,
};
const MOST_GLOBS = 100;
const LONGEST_GLOB = 200;

type NumberLimit = keyof typeof MOST;

/** The limits in a JSON value, or what is wrong with it, in words. `null` takes a limit away. */
export function parseLimits(value: unknown): Limits | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "Limits must be a JSON object";
  const limits: { -readonly [name in keyof Limits]: Limits[name] } = {};
  for (const [name, given] of Object.entries(value)) {
    if (given === null) continue;
    if (name === "models") {
      if (!isGlobs(given)) return `"models" must be a list of 1 to ${MOST_GLOBS} globs like "qwen*"`;
      limits.models = given;
    } else if (isNumberLimit(name)) {
      if (!isWhole(given, MOST[name])) return `"${name}" must be a whole number from 0 to ${MOST[name]}`;
      limits[name] = given;
    } else {
      return `There is no limit "${name.slice(0, 50)}"; there are rpm, live, bytes, body and models`;
    }
  }
  return limits;
}

/** Whether the owner has set any. */
export function hasLimits(limits: Limits): boolean {
  return Object.keys(limits).length > 0;
}

/** Whether one of the globs matches the whole name: `*` is any run of characters, everything else itself. */
export function matchesGlob(globs: readonly string[], name: string): boolean {
  return globs.some((glob) => matches(glob.split("*"), name));
}

/** Left to right, each part at its first place: linear, where a regular expression of many `.*` is not. */
function matches(parts: readonly string[], name: string): boolean {
  const [first = "", ...rest] = parts;
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

function isGlobs(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MOST_GLOBS &&
    value.every((glob) => typeof glob === "string" && glob !== "" && glob.length <= LONGEST_GLOB)
  );
}

function isNumberLimit(name: string): name is NumberLimit {
  return Object.hasOwn(MOST, name);
}

function isWhole(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= most;
}
