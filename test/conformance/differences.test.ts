import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { DIFFERENCES } from "./differences.ts";

const RULES = readdirSync(import.meta.dirname)
  .filter((file) => !file.startsWith("differences."))
  .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
  .join("\n");

it.each(Object.keys(DIFFERENCES))("a rule asserts both sides of the difference %s", (key) => {
  expect(RULES).toMatch(new RegExp(`onEach\\((?:client\\.)?target, "${key}"`));
});
