import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ChatStream } from "../../../page/chat-stream.ts";

const EVENTS = [
  event({ role: "assistant", content: null }),
  event({ reasoning_content: "Hm — " }),
  ":\n\n",
  event({ content: "The whale 🐋" }),
  event({ content: " swims.\n\n" }),
  'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\r\n\r\n',
  "data: [DONE]\n\n",
].join("");
const BYTES = new TextEncoder().encode(EVENTS);

describe("the bytes of an answer", () => {
  it("give the same text however they are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(BYTES.length), { maxLength: 12 }), (cuts) => {
        expect(read(0, cuts)).toEqual({ text: "The whale 🐋 swims.\n\n", thinking: "Hm — ", isCut: true });
      }),
    );
  });

  it("can be left anywhere and taken up at the offset, without a doubled or a missing word", () => {
    fc.assert(
      fc.property(fc.nat(BYTES.length), (at) => {
        const before = new ChatStream(0);
        const first = before.push(BYTES.subarray(0, at));
        const rest = read(before.offset, []);
        expect(first.text + rest.text).toBe("The whale 🐋 swims.\n\n");
        expect(first.thinking + rest.thinking).toBe("Hm — ");
      }),
    );
  });
});

function read(from: number, cuts: readonly number[]) {
  const stream = new ChatStream(from);
  const ends = [...cuts.map((cut) => Math.max(cut, from)), BYTES.length].toSorted((a, b) => a - b);
  const all = { text: "", thinking: "", isCut: false };
  let at = from;
  for (const end of ends) {
    const delta = stream.push(BYTES.subarray(at, end));
    all.text += delta.text;
    all.thinking += delta.thinking;
    all.isCut ||= delta.isCut === true;
    at = end;
  }
  expect(stream.offset).toBe(BYTES.length);
  return all;
}

function event(delta: Record<string, unknown>): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`;
}
