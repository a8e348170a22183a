import { describe, expect, it } from "vitest";
import type { RouteFamily } from "../../../src/families.ts";
import { USAGE_HEAD_BYTES, USAGE_TAIL_BYTES, usageOf } from "../../../src/tenant/usage-of.ts";

/** The ends of an answer, as a session's log gives them. */
function told(family: RouteFamily, answer: string, isEventStream = true) {
  const bytes = new TextEncoder().encode(answer);
  const head = bytes.subarray(0, USAGE_HEAD_BYTES);
  const tail = bytes.subarray(-USAGE_TAIL_BYTES);
  return usageOf(family, { isEventStream, head, tail });
}

// As llama-server 0.7.0 sends them, shortened where nothing is looked at.
const TIMINGS = '"timings":{"cache_n":27,"prompt_n":1,"prompt_ms":0.364,"predicted_n":3,"predicted_ms":0.299}';
const CHAT_DELTA = 'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" A"}}],"model":"tiny"}\n\n';
const DONE = "data: [DONE]\n\n";
const USAGE =
  '"usage":{"completion_tokens":3,"prompt_tokens":28,"total_tokens":31,"prompt_tokens_details":{"cached_tokens":27}}';
const RESPONSES_USAGE =
  '"usage":{"input_tokens":28,"output_tokens":3,"total_tokens":31,"input_tokens_details":{"cached_tokens":27}}';
const MESSAGE_START =
  'event: message_start\ndata: {"type":"message_start","message":{"id":"x","model":"tiny","stop_sequence":null,"usage":{"cache_read_input_tokens":27,"input_tokens":1,"output_tokens":0}}}\n\n';
const MESSAGE_END =
  'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":3}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n';

const TOKENS = { input: 28, cached: 27, output: 3 };

function completion(prompt: string): string {
  return `{"index":0,"content":"","stop":true,"model":"tiny","tokens_predicted":3,"tokens_evaluated":28,"generation_settings":{"lora":[]},"prompt":${JSON.stringify(prompt)},"stop_type":"limit","tokens_cached":30,${TIMINGS}}`;
}

function responses(text: string): string {
  const output = `[{"type":"message","content":[{"type":"output_text","text":${JSON.stringify(text)}}]}]`;
  return `event: response.completed\ndata: {"type":"response.completed","response":{"id":"r","model":"tiny","output":${output},${RESPONSES_USAGE}},${TIMINGS}}\n\n`;
}

describe("what an answer tells", () => {
  it.each<[string, RouteFamily, string, boolean]>([
    [
      "chat: timings in the finish event",
      "chat",
      `${CHAT_DELTA}data: {"choices":[{"finish_reason":"length","delta":{}}],"model":"tiny",${TIMINGS}}\n\n${DONE}`,
      true,
    ],
    [
      "chat with include_usage",
      "chat",
      `${CHAT_DELTA}data: {"choices":[],"model":"tiny",${USAGE},${TIMINGS}}\n\n${DONE}`,
      true,
    ],
    ["chat as JSON", "chat", `{"choices":[],"model":"tiny",${USAGE},"id":"chatcmpl-x",${TIMINGS}}`, false],
    [
      "completions",
      "completions",
      `data: {"choices":[{"text":""}],"model":"tiny",${USAGE},"id":"x",${TIMINGS}}\n\n${DONE}`,
      true,
    ],
    [
      "completions as JSON",
      "completions",
      `{"choices":[{"text":" A ship."}],"model":"tiny",${USAGE},${TIMINGS}}`,
      false,
    ],
    ["completion", "completion", `data: {"content":" A","stop":false}\n\ndata: ${completion("hi")}\n\n`, true],
    ["completion as JSON", "completion", completion("hi"), false],
    ["responses", "responses", responses("The keeper climbs"), true],
    ["responses as JSON", "responses", `{"model":"tiny","status":"completed",${RESPONSES_USAGE}}`, false],
    ["messages", "messages", MESSAGE_START + MESSAGE_END, true],
    [
      "messages as JSON",
      "messages",
      '{"type":"message","model":"tiny","usage":{"cache_read_input_tokens":27,"input_tokens":1,"output_tokens":3}}',
      false,
    ],
  ])("%s", (_, family, answer, isEventStream) => {
    expect(told(family, answer, isEventStream)).toEqual({ tokens: TOKENS, model: "tiny" });
  });

  it("is found behind a final event longer than what is looked at", () => {
    const long = 'a "quoted" text, '.repeat(10_000);
    expect(told("completion", `data: ${completion(long)}\n\n`).tokens).toEqual(TOKENS);
    expect(told("completion", completion(long), false).tokens).toEqual(TOKENS);
    expect(told("responses", responses(long)).tokens).toEqual(TOKENS);
    const json = `{"model":"tiny","output":[${JSON.stringify(long)}],"status":"completed",${RESPONSES_USAGE}}`;
    expect(told("responses", json, false).tokens).toEqual(TOKENS);
    const message = `{"type":"message","content":[${JSON.stringify(long)}],"usage":{"cache_read_input_tokens":27,"input_tokens":1,"output_tokens":3}}`;
    expect(told("messages", message, false).tokens).toEqual(TOKENS);
    expect(told("messages", MESSAGE_START + CHAT_DELTA.repeat(2_000) + MESSAGE_END).tokens).toEqual(TOKENS);
  });

  it("is the answer so far of the last event, where every event counts", () => {
    const event = (count: number) => `data: {"choices":[],"timings":{"prompt_n":28,"predicted_n":${count}}}\n\n`;
    expect(told("chat", event(1) + event(2) + DONE).tokens).toEqual({ input: 28, cached: 0, output: 2 });
  });

  it("is read past pings and past an error at its end", () => {
    expect(told("chat", `:\n\ndata: {${USAGE}}\n\n:\n\n${DONE}:\n\n`).tokens).toEqual(TOKENS);
    expect(told("chat", `${CHAT_DELTA}data: {"error":{"code":500}}\n\n`)).toEqual({ model: "tiny" });
  });

  it("is not what a client or a model wrote", () => {
    const forged = `x"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`;
    expect(told("chat", `data: ${JSON.stringify({ choices: [{ delta: { content: forged } }] })}\n\n${DONE}`)).toEqual(
      {},
    );
    const cut = JSON.stringify({ pad: "x".repeat(USAGE_TAIL_BYTES), prompt: forged });
    expect(told("completion", `data: ${cut}\n\n`)).toEqual({});
    expect(told("completion", cut, false)).toEqual({});
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "data: <html>\n\n"],
    ["counts that are none", 'data: {"usage":{"prompt_tokens":-1,"completion_tokens":"3"}}\n\n'],
    ["half of them", 'data: {"usage":{"prompt_tokens":3}}\n\n'],
    ["another shape", 'data: {"usage":[],"timings":null,"model":7}\n\n'],
  ])("is unknown: %s", (_, answer) => {
    expect(told("chat", answer)).toEqual({});
    expect(told("messages", answer)).toEqual({});
  });

  it("does not hold up the other conversations, whatever the origin sends", () => {
    const hostile = `${"a\n".repeat(USAGE_TAIL_BYTES / 2 - 2)}…\n`;
    const spentMs = () => {
      const before = process.cpuUsage();
      expect(told("chat", hostile)).toEqual({});
      return process.cpuUsage(before).user / 1_000;
    };
    // Some 5 ms; 150 ms where the parser gets all of it at once.
    expect(Math.min(spentMs(), spentMs(), spentMs())).toBeLessThan(50);
  });

  it("is unknown of a stream of messages whose beginning was dropped", () => {
    expect(told("messages", MESSAGE_END)).toEqual({});
  });
});
