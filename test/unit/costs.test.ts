/** What docs/operations.md says of money and of the free plan is what docs/performance.md has measured. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const OPERATIONS = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
const PERFORMANCE = readFileSync(join(ROOT, "docs/performance.md"), "utf8");

/** In the first cell after the unit of the row that begins like this. */
function measured(what: string): number {
  const row = PERFORMANCE.split("\n").find((line) => line.startsWith(`| ${what}`));
  const [, , , value = ""] = row?.split("|") ?? [];
  return number(value);
}

/** The only number in what `pattern` captures. */
function said(pattern: RegExp): number {
  return number(pattern.exec(OPERATIONS)?.[1] ?? "");
}

function number(text: string): number {
  const digits = text.replaceAll(",", "").trim();
  expect(digits, text).toMatch(/^[\d.]+$/);
  return Number(digits);
}

it("the price of a million tokens, of a home and of 10,000 answers at once", () => {
  expect(said(/^\| a million tokens \| \$([\d.]+) \|/m)).toBeCloseTo(
    measured("Cloudflare's price per million tokens"),
    3,
  );
  expect(said(/^\| one home, .* \| \$(\d+):/m)).toBe(measured("one user, all month"));
  const crowd = measured("10,000 users at once");
  expect(Math.abs(said(/^\| 10,000 answers running .* \| \$([\d,]+),/m) - crowd)).toBeLessThan(0.01 * crowd);
});

it("what the free plan's rows hold", () => {
  const rows = measured("rows written per 1,000 tokens");
  expect(said(/\((\d+) rows each\)/)).toBe(rows);
  const answers = said(/^\| 100,000 rows written \| some ([\d,]+) answers/m);
  expect(Math.abs(answers - 100_000 / rows)).toBeLessThan(0.02 * answers);
});

it("what an answer takes on the disk", () => {
  const stored = measured("stored per 1,000 tokens");
  expect(Math.abs(said(/1,000\s+tokens are some (\d+) kB/) - stored)).toBeLessThan(0.02 * stored);
});
