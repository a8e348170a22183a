import { afterEach, describe, expect, it, vi } from "vitest";
import { isolatePieces } from "../../../src/conversation/session/large-pieces.ts";
import { readFrom } from "../../../src/conversation/session/reader.ts";
import { noiseBytes } from "../support/bytes.ts";
import { beginSession, InstantStorage } from "../support/session-bench.ts";
import { SimulatedClock, settle } from "../support/simulated-clock.ts";

const PIECE = 65_536;

/** A session that has so much of its answer. */
function sessionOf(length: number) {
  const { session } = beginSession(new InstantStorage(), new SimulatedClock());
  session.append(noiseBytes(length), true);
  return session;
}

/** How many readers of the isolate may take a large piece now. */
function freeLargePieces(): number {
  const takers: object[] = [];
  do takers.push({});
  while (isolatePieces.take(takers.at(-1) ?? {}) > PIECE);
  for (const taker of takers) isolatePieces.giveBack(taker);
  return takers.length - 1;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a reader", () => {
  it("is in the audience until it has read the end", async () => {
    const session = sessionOf(10);
    const reader = readFrom(session, 0).getReader();
    await reader.read();
    session.finish("done");
    expect(session.audience.isPresent).toBe(true);
    expect((await reader.read()).done).toBe(true);
    expect(session.audience.isPresent).toBe(false);
  });

  it("that has left while it waited is given nothing more, and troubles nobody", async () => {
    const printed = vi.spyOn(console, "error").mockReturnValue();
    const session = sessionOf(10);
    const reader = readFrom(session, 10).getReader();
    const read = reader.read();
    await settle();
    await reader.cancel();
    expect([(await read).done, session.audience.isPresent]).toEqual([true, false]);
    session.append(noiseBytes(10), true);
    session.finish("done");
    await settle();
    expect(printed).not.toHaveBeenCalled();
  });

  it("holds a large piece until it asks for more, or leaves", async () => {
    const free = freeLargePieces();
    const session = sessionOf(4 * PIECE + 100);
    session.finish("done");
    const [goesOn, leaves] = [readFrom(session, 0).getReader(), readFrom(session, 0).getReader()];
    for (const reader of [goesOn, leaves]) await reader.read();
    expect(freeLargePieces()).toBe(free - 2);
    for (let read = 1; read < 5; read++) await goesOn.read();
    expect(freeLargePieces()).toBe(free - 1);
    await leaves.cancel();
    expect(freeLargePieces()).toBe(free);
  });

  it("holds none where all there is fits into a small one", async () => {
    const free = freeLargePieces();
    const reader = readFrom(sessionOf(PIECE), 0).getReader();
    expect((await reader.read()).value).toHaveLength(PIECE);
    expect(freeLargePieces()).toBe(free);
    await reader.cancel();
  });
});
