import { describe, expect, it } from "vitest";
import { CacheBudget } from "../../../src/conversation/log/cache-budget.ts";
import { RecentBytes } from "../../../src/conversation/log/recent-bytes.ts";
import { concat, expectBytes, noiseBytes } from "../support/bytes.ts";

const LARGE = new CacheBudget(1e9);
/** Evicts at once. */
const NONE = new CacheBudget(0);
const PIECE = 262_144;

function filled(bytes: Uint8Array, budget: CacheBudget, end = 0): RecentBytes {
  const recent = new RecentBytes(end, budget);
  for (let at = 0; at < bytes.length; at += 1_000) recent.append(bytes.subarray(at, at + 1_000));
  return recent;
}

function readAll(recent: RecentBytes, from: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = from; at < recent.end; ) {
    const read = recent.read(at, recent.end, PIECE) ?? [];
    expect(read.length).toBeGreaterThan(0);
    pieces.push(...read);
    at += read.reduce((sum, { length }) => sum + length, 0);
  }
  return concat(pieces);
}

describe("recent bytes", () => {
  it("are read from any offset, across blocks", () => {
    const bytes = noiseBytes(500_000);
    const recent = filled(bytes, LARGE, 10_000);
    expect(recent.end).toBe(510_000);
    for (const from of [0, 1, 4_095, 4_096, 4_097, 65_536, 499_999]) {
      expectBytes(readAll(recent, 10_000 + from), bytes.subarray(from));
    }
  });

  it("end below the limit, and come in pieces of about the size that was asked for", () => {
    const recent = filled(noiseBytes(500_000), LARGE);
    expect(concat(recent.read(100, 5_000, PIECE) ?? [])).toEqual(noiseBytes(4_900, 100));
    const piece = concat(recent.read(200_000, 500_000, PIECE) ?? []);
    expect(piece.length).toBeGreaterThan(PIECE - 65_536);
    expect(piece.length).toBeLessThanOrEqual(PIECE);
  });

  it("end with the block that ends at the limit, and take no empty piece of the next one", () => {
    const recent = filled(noiseBytes(10_000), LARGE);
    expect(recent.read(0, 4_096, PIECE)).toEqual([noiseBytes(4_096)]);
  });

  it("that come in one large piece are read in one", () => {
    const recent = new RecentBytes(0, LARGE);
    recent.append(noiseBytes(10));
    recent.append(noiseBytes(50_000, 10));
    expect(recent.read(0, 50_010, PIECE)?.map(({ length }) => length)).toEqual([4_096, 45_914]);
  });

  it("are not there before the first one that came in", () => {
    expect(filled(noiseBytes(10), LARGE, 5).read(4, 15, PIECE)).toBeUndefined();
    expect(new RecentBytes(5, LARGE).read(4, 5, PIECE)).toBeUndefined();
  });

  it("are the log's own: who appends may write to the buffer afterwards", () => {
    const buffer = noiseBytes(100);
    const recent = filled(buffer, LARGE);
    buffer.fill(0);
    expect(readAll(recent, 0)).toEqual(noiseBytes(100));
  });

  it("cost a short answer 4 KiB and a long one blocks of 64 KiB at the most", () => {
    const sizes: number[] = [];
    const budget = new CacheBudget(1e9);
    budget.add = (_, bytes) => void sizes.push(bytes);
    const recent = filled(noiseBytes(500_000), LARGE);
    expect(recent.read(0, 500_000, PIECE)?.[0]?.buffer.byteLength).toBe(4_096);
    filled(noiseBytes(500_000), budget).allowEviction();
    expect(sizes).toEqual([4_096, 8_192, 16_384, 32_768, ...Array.from({ length: 5 }, () => 65_536)]);
  });

  it("stay, without room in the budget, in the two newest blocks, and all that is not flushed", () => {
    const bytes = noiseBytes(500_000);
    const recent = filled(bytes, NONE);
    expectBytes(readAll(recent, 0), bytes);
    recent.allowEviction();
    const first = Array.from({ length: 500 }, (_, i) => i * 1_000).find((at) => recent.read(at, recent.end, PIECE));
    expect(recent.end - (first ?? 0)).toBeGreaterThan(65_536);
    expect(recent.end - (first ?? 0)).toBeLessThanOrEqual(2 * 65_536);
    expectBytes(readAll(recent, first ?? 0), bytes.subarray(first));
  });

  it("stay in the hands of a reader that was given them when they are evicted", () => {
    const recent = filled(noiseBytes(300_000), NONE);
    const [view] = recent.read(0, 1_000, PIECE) ?? [];
    recent.allowEviction();
    recent.append(noiseBytes(300_000, 1));
    expect(recent.read(0, 1_000, PIECE)).toBeUndefined();
    expect(view).toEqual(noiseBytes(1_000));
  });

  it("are not evicted before they are flushed, whoever asks for it (I4)", () => {
    const recent = filled(noiseBytes(300_000), LARGE);
    expect(() => recent.evictOldest()).toThrow("I4");
    expect(readAll(recent, 0)).toHaveLength(300_000);
  });
});
