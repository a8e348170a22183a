/** Who may take a replay in large pieces: a few at a time, so that many that stall hold little. */
import { expect, it } from "vitest";
import { LargePieces } from "../../../src/conversation/session/large-pieces.ts";

const LARGE = 262_144;
const SMALL = 65_536;

it("32 readers at a time take large pieces, and the next one as soon as one gives its own back", () => {
  const pieces = new LargePieces();
  const readers = Array.from({ length: 33 }, () => ({}));
  expect(readers.map((reader) => pieces.take(reader))).toEqual([...Array.from({ length: 32 }, () => LARGE), SMALL]);
  pieces.giveBack(readers[3] ?? {});
  expect(pieces.take(readers[32] ?? {})).toBe(LARGE);
  expect(pieces.take({})).toBe(SMALL);
});

it("a reader that holds none gives nothing back", () => {
  const pieces = new LargePieces();
  const readers = Array.from({ length: 32 }, () => ({}));
  for (const reader of readers) pieces.take(reader);
  pieces.giveBack({});
  expect(pieces.take({})).toBe(SMALL);
});
