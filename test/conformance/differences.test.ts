import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { DIFFERENCES } from "./differences.ts";

const TESTS = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".test.ts"))
  .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
  .join("\n");

it.each(Object.keys(DIFFERENCES))("a test asserts both sides of the difference %s", (key) => {
  expect(TESTS).toContain(`onEach(target, "${key}"`);
});
