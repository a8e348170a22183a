import { createParser, type EventSourceMessage } from "eventsource-parser";
import { describe, expect, it } from "vitest";
import {
  ERROR_EVENTS,
  familyOf,
  GENERATING_PATHS,
  isFinalEvent,
  NEEDS_MESSAGES,
  type RouteFamily,
} from "../../src/families.ts";

const ERROR = { code: 502, message: "The origin is gone", type: "origin_lost" } as const;

/** What llama-server does on each route, by its wire contract. */
const ROUTES: readonly (readonly [path: string, family: RouteFamily, needsMessages: boolean])[] = [
  ["/v1/chat/completions", "chat", true],
  ["/chat/completions", "chat", true],
  ["/v1/completions", "completions", false],
  ["/completion", "completion", false],
  ["/completions", "completion", false],
  ["/infill", "completion", false],
  ["/v1/responses", "responses", false],
  ["/responses", "responses", false],
  ["/v1/messages", "messages", true],
];

describe("a route that generates", () => {
  it.each(ROUTES)("%s is of the family %s, and needs messages: %s", (path, family, needsMessages) => {
    expect(familyOf(path)).toBe(family);
    expect(NEEDS_MESSAGES.has(family)).toBe(needsMessages);
  });

  it("is one of these and no other", () => {
    expect(GENERATING_PATHS.toSorted()).toEqual(ROUTES.map(([path]) => path).toSorted());
    expect(["/v1/chat", "/v1/models", "/infill/", "toString"].map(familyOf)).toEqual(Array(4).fill(undefined));
  });
});

describe("the last event of a complete answer", () => {
  it.each<[RouteFamily, string]>([
    ["completion", "data: [DONE]\n\n"],
    ["completion", 'data: {"stop": true}\n\n'],
    ["completion", 'data: {"content":"a\ndata: b","stop":true}\n\n'],
    ["responses", "event: response.incomplete\ndata: {}\n\n"],
    ["responses", "event: response.failed\ndata: {}\n\n"],
    ["chat", "data:[DONE]\n\n"],
    ["chat", ": a comment\rdata: [DONE]\r\r"],
    ["messages", "event: message_stop\r\ndata: {}\r\n\r\n"],
    ["messages", "id: 7\ndata\nevent:message_stop\n\n"],
  ])("of %s may be %j", (family, event) => {
    expect(isFinalEvent(family, new TextEncoder().encode(event))).toBe(true);
  });

  it.each<[RouteFamily, string]>([
    ["completions", 'data: "[DONE]"\n\n'],
    ["chat", 'data: {"stop":true}\n\n'],
    ["responses", "event: response.completed.not\ndata: {}\n\n"],
    ["messages", "data: message_stop\n\n"],
    ["messages", "event:  message_stop\ndata: {}\n\n"],
    ["chat", "data: [DO\ndata: NE]\n\n"],
  ])("of %s is not %j", (family, event) => {
    expect(isFinalEvent(family, new TextEncoder().encode(event))).toBe(false);
  });
});

describe("the error event of the gateway", () => {
  it.each<[RouteFamily, string | undefined, unknown]>([
    ["chat", undefined, { error: ERROR }],
    ["completions", undefined, { error: ERROR }],
    ["completion", undefined, { error: ERROR }],
    ["responses", "error", { type: "error", code: "origin_lost", message: ERROR.message, param: null, error: ERROR }],
    ["messages", "error", { type: "error", error: ERROR }],
  ])("of %s is one event, which its official SDK raises, and ends the answer", (family, event, data) => {
    const text = ERROR_EVENTS[family](ERROR);
    const read: EventSourceMessage[] = [];
    createParser({ onEvent: (each) => read.push(each) }).feed(text);
    expect(read.map((each) => [each.event, JSON.parse(each.data)])).toEqual([[event, data]]);
    expect(isFinalEvent(family, new TextEncoder().encode(text))).toBe(true);
  });
});
