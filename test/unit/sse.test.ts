import { createParser } from "eventsource-parser";
import { describe, expect, it } from "vitest";
import { isFinalEvent, type RouteFamily } from "../../src/families.ts";
import { EventSplitter, lastEventEnd, lastEventStart } from "../../src/sse.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

/** What a splitter released, piece by piece. */
function split(pieces: Uint8Array[], maxHeldBytes = 1_000) {
  const released: string[] = [];
  const splitter = new EventSplitter(maxHeldBytes, true, (part) => released.push(text(part)));
  for (const piece of pieces) splitter.push(piece);
  return { splitter, released };
}

function eventsIn(stream: string): unknown[] {
  const events: unknown[] = [];
  createParser({ onEvent: (event) => events.push(event) }).feed(stream);
  return events;
}

describe("the event splitter", () => {
  it("releases whole events and holds the unfinished tail back", () => {
    const { splitter, released } = split([bytes("data: 1\n\ndata: 2\n\ndata: 3")]);
    expect(released).toEqual(["data: 1\n\ndata: 2\n\n"]);
    expect(text(splitter.held)).toBe("data: 3");
    expect(splitter.atBoundary).toBe(true);
  });

  it.each(["\n", "\r\n"])("gives the same bytes however they are cut, lines ending with %j", (newline) => {
    const events = ["data: eins", "event: x", ": ⚓", "data: zwei"].map((line) => line + newline + newline).join("");
    const all = bytes(events);
    for (let size = 1; size <= all.length; size++) {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < all.length; at += size) pieces.push(all.slice(at, at + size));
      const { splitter, released } = split(pieces);
      expect(released.join("")).toBe(events);
      for (const part of released) expect(part.endsWith(newline + newline)).toBe(true);
      expect(splitter.held).toHaveLength(0);
    }
  });

  it("lets a frame stand behind any piece, and a client's parser then sees the same events", () => {
    const stream = 'event: a\ndata: 1\n\n: hi\n\ndata: {"x":"⚓"}\r\n\r\ndata: two\ndata: lines\n\nid: 7\ndata: 3\n\n';
    for (let size = 1; size <= stream.length; size++) {
      const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) =>
        stream.slice(i * size, (i + 1) * size),
      );
      const { released } = split(pieces.map(bytes));
      expect(eventsIn(released.join(":\n\n"))).toEqual(eventsIn(stream));
    }
  });

  it("passes an event over the bound on as it comes, and says that it stands inside of it", () => {
    const { splitter, released } = split([bytes(`data: ${"x".repeat(30)}`)], 20);
    expect(released).toEqual([`data: ${"x".repeat(30)}`]);
    expect(splitter.atBoundary).toBe(false);
    splitter.push(bytes("end\n\n"));
    expect(splitter.atBoundary).toBe(true);
    expect(released.join("")).toBe(`data: ${"x".repeat(30)}end\n\n`);
  });

  it("holds an event back that is as long as the bound, and not one that is longer", () => {
    expect(split([bytes("data: 1")], 7).released).toEqual([]);
    expect(split([bytes("data: 12")], 7).released).toEqual(["data: 12"]);
  });

  it.each(["\n\n", "\r\n\r\n"])("sees the end of an event over the bound wherever its blank line %j is cut", (end) => {
    const event = `data: ${"x".repeat(30)}${end}`;
    for (let cut = 1; cut < end.length; cut++) {
      const pieces = [event.slice(0, -cut), `${event.slice(-cut)}data: 2`];
      const { splitter, released } = split(pieces.map(bytes), 20);
      expect([released.join(""), text(splitter.held)]).toEqual([event, "data: 2"]);
      expect(splitter.atBoundary).toBe(true);
    }
  });

  it("can be pushed on after its tail was released or discarded", () => {
    const { splitter, released } = split([bytes("data: 1")]);
    splitter.discard();
    splitter.push(bytes("data: 2\n\ndata: 3"));
    splitter.flush();
    expect(released).toEqual(["data: 2\n\n", "data: 3"]);
  });

  it("stands inside an event when its tail was released, and at a boundary still when there was none", () => {
    const { splitter, released } = split([bytes("data: 1\n\n")]);
    splitter.flush();
    expect([splitter.atBoundary, released]).toEqual([true, ["data: 1\n\n"]]);
    splitter.push(bytes("data: 2"));
    splitter.flush();
    expect(splitter.atBoundary).toBe(false);
  });

  it("gives the memory of a long event back", () => {
    const { splitter } = split([bytes(`data: ${"x".repeat(100_000)}`)], 1_000_000);
    expect(splitter.held.buffer.byteLength).toBeGreaterThan(100_000);
    splitter.push(bytes("\n\ndata: 2"));
    expect(splitter.held.buffer.byteLength).toBeLessThan(65_536);
  });

  it("looks at each byte of a long line once, in however small pieces it comes", () => {
    const piece = bytes("x".repeat(64));
    const { splitter } = split([bytes("data: ")], 2_000_000);
    const started = performance.now();
    for (let i = 0; i < 16_000; i++) splitter.push(piece);
    // Some 10 ms; ten seconds if every piece made it look at, or move, all that is held.
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(splitter.held).toHaveLength(6 + 16_000 * 64);
  });
});

describe("event boundaries", () => {
  it("are blank lines", () => {
    expect(lastEventEnd(bytes("data: 1\n"), 8)).toBe(-1);
    expect(lastEventEnd(bytes("data: 1\n\n"), 9)).toBe(9);
    expect(lastEventEnd(bytes("data: 1\r\n\r\nda"), 13)).toBe(11);
    expect(lastEventEnd(bytes("\n"), 1)).toBe(-1);
  });

  it("are not looked for where they were looked for before", () => {
    expect(lastEventEnd(bytes("data: 1\n\ndata: 2"), 16, 8)).toBe(9);
    expect(lastEventEnd(bytes("data: 1\n\ndata: 2"), 16, 9)).toBe(-1);
  });

  it("tell where the last event starts that is not a comment", () => {
    expect(lastEventStart(bytes("data: 1\n\ndata: 2\n\n"))).toBe(9);
    expect(lastEventStart(bytes("data: 1\n\n:\n\n:\n\n"))).toBe(0);
    expect(lastEventStart(bytes(":\n\n"))).toBe(-1);
    expect(lastEventStart(bytes("data: 1\n\n\n"))).toBe(0);
    expect(lastEventStart(bytes("data: 1\r\n\r\n\r\n"))).toBe(0);
    expect(lastEventStart(bytes("data: 1\n\n"))).toBe(0);
  });
});

describe("a stream has its final event", () => {
  it.each<[RouteFamily, string, boolean]>([
    ["chat", "data: [DONE]\n\n", true],
    ["chat", 'data: {"choices":[{"finish_reason":"stop"}]}\n\n', false],
    ["chat", "id: 2\ndata: [DONE]\n\n", true],
    ["chat", 'data: {"error":{"code":500}}\n\n', true],
    ["completions", "data: [DONE]\n\n", true],
    ["completion", 'data: {"index":0,"content":"","stop":true,"prompt":"x"}\n\n', true],
    ["completion", 'data: {"index":0,"content":"\\"stop\\":true","stop":false}\n\n', false],
    ["responses", 'event: response.completed\ndata: {"type":"response.completed"}\n\n', true],
    ["responses", 'event: response.output_text.delta\ndata: {"delta":"x"}\n\n', false],
    ["messages", 'event: message_stop\ndata: {"type":"message_stop"}\n\n', true],
    ["messages", 'event: error\ndata: {"code":500}\n\n', true],
    ["messages", 'event: content_block_delta\ndata: {"type":"message_stop"}\n\n', false],
  ])("%s: %j → %s", (family, event, isFinal) => {
    expect(isFinalEvent(family, bytes(event))).toBe(isFinal);
  });
});
