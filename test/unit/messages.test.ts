import { describe, expect, it } from "vitest";
import { decode, encodeReplay, encodeStart, type StartRequest } from "../../src/conversation/messages.ts";

const START: StartRequest = {
  id: "é/ü::a?b&c#d",
  path: "/v1/chat/completions",
  family: "chat",
  wantsStream: true,
  model: "tiny",
  idempotencyKey: undefined,
  isRetry: false,
  key: "phone",
  ticket: undefined,
  bodyHash: "00ff",
};

describe("a message to a conversation's object", () => {
  it("to start arrives as it was sent, its body with it", async () => {
    const request = encodeStart({ ...START, idempotencyKey: "k" }, new TextEncoder().encode("body"));
    expect(decode(request)).toEqual({ start: { ...START, idempotencyKey: "k" } });
    expect(await request.text()).toBe("body");
  });

  it("to start arrives without the fields that were undefined", () => {
    expect(decode(encodeStart({ ...START, model: undefined }, new Uint8Array(0)))).toEqual({
      start: { ...START, model: undefined },
    });
  });

  it.each([
    { id: "a", from: 7, session: "s", isHead: false },
    { id: "a", from: undefined, session: undefined, isHead: true },
  ])("to replay arrives as it was sent: %j", (replay) => {
    expect(decode(encodeReplay(replay))).toEqual({ replay });
  });

  it.each([
    ["another path", "/other", {}],
    ["no message", "/start", null],
    ["a field of another type", "/start", { ...START, family: "x" }],
    ["a model of another type", "/start", { ...START, model: 7 }],
    ["a field that is missing", "/replay", { id: "a", from: 1 }],
  ])("is refused with %s", (_, path, message) => {
    const query = new URLSearchParams({ message: JSON.stringify(message) });
    expect(() => decode(new Request(`https://conversation${path}?${query}`))).toThrow(TypeError);
  });
});
