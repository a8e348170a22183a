import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const DOCS = join(ROOT, "docs");

/** `e2e/clients` "words of a test", "words of another": the file below test/, and words that stand in it. */
const NAMED = /`((?:unit|workers|conformance|e2e|browser)\/[\w/.-]+)`((?:,? (?:and )?"[^"]+")+)/g;

interface NamedTest {
  doc: string;
  file: string;
  words: string;
}

function testsNamedIn(doc: string): NamedTest[] {
  const text = readFileSync(join(DOCS, doc), "utf8");
  return [...text.matchAll(NAMED)].flatMap(([, file = "", quotes = ""]) =>
    [...quotes.matchAll(/"([^"]+)"/g)].map(([, words = ""]) => ({ doc, file, words })),
  );
}

const named = readdirSync(DOCS)
  .filter((name) => name.endsWith(".md"))
  .flatMap(testsNamedIn);

describe("a test that the documents name", () => {
  it("is found in them at all", () => {
    expect(named.length).toBeGreaterThan(60);
  });

  it.each(named)("exists: $doc names $file, $words", ({ file, words }) => {
    const path = join(ROOT, "test", `${file}.test.ts`);
    expect(existsSync(path), path).toBe(true);
    const text = readFileSync(path, "utf8");
    for (const part of words.split(/: … | … /)) expect(text).toContain(part);
  });
});
