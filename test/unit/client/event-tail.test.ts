import { describe, expect, it } from "vitest";
import { EventTail } from "../../../src/client/event-tail.ts";
import { ERROR_EVENTS, type RouteFamily } from "../../../src/families.ts";

/** The tail of a stream that came in pieces of this size. */
function tailOf(stream: string, pieceBytes = Number.POSITIVE_INFINITY): EventTail {
  const bytes = new TextEncoder().encode(stream);
  const tail = new EventTail();
  const size = Math.min(pieceBytes, bytes.length);
  for (let at = 0; at < bytes.length; at += size) tail.push(bytes.subarray(at, at + size));
  return tail;
}

const FINAL: [RouteFamily, string][] = [
  ["chat", "data: [DONE]\n\n"],
  ["completion", 'data: {"content":"","stop":true}\n\n'],
  ["responses", 'event: response.completed\ndata: {"type":"response.completed"}\n\n'],
  ["messages", 'event: message_stop\ndata: {"type":"message_stop"}\n\n'],
];

describe("the tail of a stream", () => {
  it.each(FINAL)("knows the last event of %s, however it is cut", (family, last) => {
    const stream = `data: {"text":"wörd"}\n\n${last}`;
    for (const newline of ["\n", "\r\n"]) {
      const all = stream.replaceAll("\n", newline);
      for (let size = 1; size <= all.length; size++) expect(tailOf(all, size).isFinal(family)).toBe(true);
    }
  });

  it.each(FINAL)("does not take the start of the last event of %s for it", (family, last) => {
    for (let length = 0; length < last.length - 1; length++) {
      expect(tailOf(`data: 1\n\n${last.slice(0, length)}`).isFinal(family)).toBe(false);
    }
  });

  it("does not take an event for the last one while another is coming", () => {
    expect(tailOf("data: [DONE]\n\ndata: 2").isFinal("chat")).toBe(false);
  });

  it("does not mind pings behind the last event", () => {
    expect(tailOf("data: [DONE]\n\n:\n\n:\n\n").isFinal("chat")).toBe(true);
  });

  it("does not take words of the text for the end", () => {
    expect(tailOf('data: {"content":"data: [DONE]\\n\\n"}\n\n').isFinal("chat")).toBe(false);
    expect(tailOf('data: {"content":"{\\"stop\\":true}","stop":false}\n\n').isFinal("completion")).toBe(false);
  });

  it("knows a last event whose data is longer than what is kept of it", () => {
    const long = `event: response.completed\ndata: {"text":"${"x".repeat(100_000)}"}\n\n`;
    for (const size of [1_000, 8_191, 8_192, 50_000])
      expect(tailOf(`data: 1\n\n${long}`, size).isFinal("responses")).toBe(true);
    expect(tailOf(`${long}data: 2\n\n`, 1_000).isFinal("responses")).toBe(false);
  });

  it("knows the last event, too, when all of its start comes in one piece", () => {
    const event = `event: response.completed\ndata: {"text":"${"x".repeat(50_000)}"}\n\n`;
    const tail = tailOf("data: 1\n\n");
    const bytes = new TextEncoder().encode(event);
    for (let at = 0; at < bytes.length; at += 16_384) tail.push(bytes.subarray(at, at + 16_384));
    expect(tail.isFinal("responses")).toBe(true);
  });

  it("keeps no more of a long event than its start, and all of the short one behind it", () => {
    const message = "x".repeat(100_000);
    const long = `data: {"error":{"type":"server_error","message":"${message}"}}\n\n`;
    expect(tailOf(long).error?.message).toBe(message);
    for (const size of [1, 1_000, 16_384]) {
      expect(tailOf(long, size).error?.message.length ?? 0).toBeLessThan(40_000);
      const lost = 'data: {"error":{"type":"origin_lost","message":"lost"}}\n\n';
      expect(tailOf(long + lost, size).error).toEqual({ type: "origin_lost", message: "lost" });
    }
  });

  it("knows that a long last event is an error, in pieces of any size", () => {
    const long = `data: {"error":{"code":500,"message":"${"x".repeat(20_000)}","type":"server_error"}}\n\n`;
    for (const size of [1, 7, 1_000, 8_191, 16_384]) expect(tailOf(long, size).error?.type).toBe("server_error");
  });

  it.each([
    ["that is a sentence", '{"error":"a sentence in the place of an object"}'],
    ["without a type", '{"error":{"message":"no type"}}'],
    ["that was cut", `{"error":{"message":"${"\\n".repeat(8_000)}"`],
  ])("takes an error %s for no success", (_, data) => {
    const tail = tailOf(`data: 1\n\ndata: ${data}\n\n`, 1_000);
    expect([tail.isFinal("chat"), tail.error?.type]).toEqual([true, ""]);
    expect(data).toContain(tail.error?.message.slice(0, 20));
  });

  it("takes a large piece, as a replay on a fast line brings them, as easily as small ones", () => {
    const replay = 'data: {"choices":[{"index":0,"delta":{"content":"…"}}],"model":"tiny"}\n\n'.repeat(20_000);
    const spentMs = () => {
      const before = process.cpuUsage();
      expect(tailOf(replay).isFinal("chat")).toBe(false);
      return process.cpuUsage(before).user / 1_000;
    };
    // Some 15 ms; seconds where the parser gets all of it at once.
    expect(Math.min(spentMs(), spentMs(), spentMs())).toBeLessThan(200);
  });

  it("may begin in the middle of an event, and of a character", () => {
    const all = new TextEncoder().encode('data: {"text":"wörd"}\n\ndata: [DONE]\n\n');
    for (let from = 1; from < all.length; from++) {
      const tail = new EventTail();
      tail.push(all.subarray(from));
      expect(tail.isFinal("chat")).toBe(from <= all.indexOf(10) + 2);
    }
  });

  it("knows the gateway's word of a stop, and that it is over when something follows", () => {
    const stopped = "data: 1\n\n: holdfast end=stopped\n\n";
    for (let size = 1; size <= stopped.length; size++) expect(tailOf(stopped, size).isStopped).toBe(true);
    expect(tailOf(`${stopped}data: 2\n\n`).isStopped).toBe(false);
    expect(tailOf("data: 1\n\n: holdfast\n\n").isStopped).toBe(false);
  });

  it.each(["chat", "responses", "messages"] as const)("reads the gateway's error event of %s", (family) => {
    const error = { code: 502, message: "The origin was lost", type: "origin_lost" as const };
    const tail = tailOf(`data: 1\n\n${ERROR_EVENTS[family](error)}`);
    expect(tail.isFinal(family)).toBe(true);
    expect(tail.error).toEqual({ type: "origin_lost", message: "The origin was lost" });
  });

  it("reads no error in a text about errors", () => {
    expect(tailOf('data: {"content":"\\"error\\": none"}\n\n').error).toBeUndefined();
  });
});
