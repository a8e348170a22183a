/**
 * The tokens of one answer, from the last events of its route. Called once, when a session has ended `done`; nothing here
 * is on the way of an event.
 *
 *   chat, completions   `usage` or llama-server's `timings` in one of the last events, or in the JSON answer
 *   completion          `timings` at the end of the event with "stop":true
 *   responses           `response.usage` in response.completed, `timings` behind it
 *   messages            input in message_start, the first event; output in message_delta; or `usage` in the JSON answer
 *
 * Source: llama-server 0.7.0 (wire contract, section 2), OpenAI's and Anthropic's SDKs for other servers' `usage`. An answer
 * that tells nothing is unknown.
 */
import { createParser } from "eventsource-parser";
import type { RouteFamily } from "../families.ts";
import type { Tokens } from "./messages.ts";

/** Enough for the first event, and for the end of the last ones. */
export const USAGE_HEAD_BYTES = 4_096;
export const USAGE_TAIL_BYTES = 65_536;

export interface AnswerEnds {
  readonly isEventStream: boolean;
  /** The first USAGE_HEAD_BYTES of the answer; empty when they were dropped. */
  readonly head: Uint8Array;
  /** The last USAGE_TAIL_BYTES of it. */
  readonly tail: Uint8Array;
}

interface Fields {
  readonly [name: string]: unknown;
}

/** What the answer tells: its tokens (ask only about one that is complete), and the model by the origin's own name. */
export interface AnswerUsage {
  readonly tokens?: Tokens;
  readonly model?: string;
}

export function usageOf(family: RouteFamily, { isEventStream, head, tail }: AnswerEnds): AnswerUsage {
  const first = isEventStream ? eventObjects(head) : [];
  const last = isEventStream ? eventObjects(tail) : objectsOf([decode(tail)]);
  const isSplit = family === "messages" && isEventStream;
  // The last one that tells: with `timings_per_token` each event has a count, of the answer so far.
  const tokens = isSplit ? anthropicStream(first, last) : lastThatTells(last, tokensIn);
  const model = lastThatTells([...first, ...last], modelIn);
  return { ...(tokens && { tokens }), ...(model !== undefined && { model }) };
}

function lastThatTells<T>(events: readonly Fields[], tell: (event: Fields) => T | undefined): T | undefined {
  for (const event of events.toReversed()) {
    const told = tell(event);
    if (told !== undefined) return told;
  }
  return undefined;
}

function modelIn(event: Fields): string | undefined {
  const model = event.model ?? fieldsOf(event.response)?.model ?? fieldsOf(event.message)?.model;
  return typeof model === "string" && model !== "" ? model : undefined;
}

function tokensIn(event: Fields): Tokens | undefined {
  const usage = fieldsOf(event.usage) ?? fieldsOf(fieldsOf(event.response)?.usage);
  const timings = fieldsOf(event.timings);
  return (usage && fromUsage(usage)) ?? (timings && fromTimings(timings));
}

function fromUsage(usage: Fields): Tokens | undefined {
  if (isCount(usage.prompt_tokens) && isCount(usage.completion_tokens)) {
    const cached = cachedIn(usage.prompt_tokens_details);
    return { input: usage.prompt_tokens, cached, output: usage.completion_tokens };
  }
  if (!isCount(usage.input_tokens) || !isCount(usage.output_tokens)) return undefined;
  // Anthropic's `input_tokens` are those behind the cache; OpenAI's include it.
  const besides = count(usage.cache_read_input_tokens) + count(usage.cache_creation_input_tokens);
  const cached = cachedIn(usage.input_tokens_details) + count(usage.cache_read_input_tokens);
  return { input: usage.input_tokens + besides, cached, output: usage.output_tokens };
}

function fromTimings({ cache_n, prompt_n, predicted_n }: Fields): Tokens | undefined {
  if (!isCount(prompt_n) || !isCount(predicted_n)) return undefined;
  const cached = count(cache_n);
  return { input: prompt_n + cached, cached, output: predicted_n };
}

function anthropicStream(head: readonly Fields[], tail: readonly Fields[]): Tokens | undefined {
  const start = head.find((event) => event.type === "message_start");
  const delta = tail.findLast((event) => event.type === "message_delta");
  const input = fieldsOf(fieldsOf(start?.message)?.usage);
  const output = fieldsOf(delta?.usage);
  return input && output && fromUsage({ ...input, ...output });
}

function cachedIn(details: unknown): number {
  return count(fieldsOf(details)?.cached_tokens);
}

/** The JSON of the events in a run of bytes that may begin in the middle of one. */
function eventObjects(bytes: Uint8Array): Fields[] {
  const text = decode(bytes);
  const found: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => void found.push(data) });
  // The parser's time grows with the square of a piece, and of each strange line it makes an error with a stack: an origin
  // could hold up the thread for 0.2 s.
  for (const line of text.split(/\r\n?|\n/).slice(0, -1)) {
    if (line === "" || line.startsWith("data:")) parser.feed(`${line}\n`);
  }
  // An event longer than all there is: only its end is here.
  return objectsOf(found.length > 0 ? found : [text]);
}

/** JSON objects, or the end of one that is too long. What is neither tells nothing. */
function objectsOf(texts: readonly string[]): Fields[] {
  return texts
    .map((text) => text.trim())
    .map((text) => parsed(text.startsWith("{") ? text : endOf(text)))
    .filter((object) => object !== undefined);
}

/** The end of a cut event is short, and a long text is not to be searched from each of its quotes. */
const END_LENGTH = 2_048;

/**
 * What stands at the very end of a JSON object: `usage` and `timings` are the last things in it. In a text of the client
 * or the model every quote is escaped, so none of them can end an object in this way.
 */
function endOf(text: string): string {
  const end = /[,{]("(?:usage|timings)":\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\})(?:\}|\},"timings":\{[^{}]*\}\})$/;
  return `{${end.exec(text.slice(-END_LENGTH))?.[1] ?? ""}}`;
}

function parsed(text: string): Fields | undefined {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    // Cut off, or not JSON.
    return undefined;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null ? { ...value } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function count(value: unknown): number {
  return isCount(value) ? value : 0;
}
