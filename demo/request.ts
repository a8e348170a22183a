/**
 * What a generating request asks for: parsed once, refused as llama-server refuses it.
 *
 *     body ─▶ parseBody ─▶ requirePrompt ─▶ (the conversation's old session is replaced here) ─▶ parseRequest
 *
 * The order is llama-server's: whatever `parseRequest` refuses has already cost the old session its life.
 */
import { type AnswerFacts, Chat, type Dialect, Messages, Native, Responses, Text } from "./dialects.ts";

export type Json = Record<string, unknown>;

/** The context of one slot, in tokens. As in llama-server's test model, a prompt costs one token a character. */
export const CONTEXT_TOKENS = 32_768;

/** What the chat template adds to a prompt. */
const TEMPLATE_TOKENS = 19;

export class Refusal extends Error {
  readonly status: number;
  readonly type: string;
  readonly more: Json;

  constructor(status: number, message: string, type = "invalid_request_error", more: Json = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.more = more;
  }
}

export interface GeneratingRoute {
  /** The field that holds the prompt. */
  prompt: "messages" | "prompt" | "input" | "input_suffix";
  createDialect(facts: AnswerFacts): Dialect;
  /** llama-server answers 500 here: it does not take the missing field for the client's fault. */
  missingPromptIsServerError?: boolean;
}

const chat: GeneratingRoute = { prompt: "messages", createDialect: (facts) => new Chat(facts) };
const text: GeneratingRoute = { prompt: "prompt", createDialect: (facts) => new Text(facts) };
const native: GeneratingRoute = { prompt: "prompt", createDialect: (facts) => new Native(facts) };
const infill: GeneratingRoute = { prompt: "input_suffix", createDialect: (facts) => new Native(facts) };
const responses: GeneratingRoute = { prompt: "input", createDialect: (facts) => new Responses(facts) };
const messages: GeneratingRoute = {
  prompt: "messages",
  createDialect: (facts) => new Messages(facts),
  missingPromptIsServerError: true,
};

export const GENERATING_ROUTES: ReadonlyMap<string, GeneratingRoute> = new Map([
  ["/v1/chat/completions", chat],
  ["/chat/completions", chat],
  ["/v1/completions", text],
  ["/completion", native],
  ["/completions", native],
  ["/infill", infill],
  ["/v1/responses", responses],
  ["/responses", responses],
  ["/v1/messages", messages],
]);

/**
 * What happens after the last token: the usual terminator · an error event · a clean end without a terminator · the
 * POST's connection cut while the session completes · silence, without pings, until somebody stops it.
 */
export type Ending = "done" | "error" | "truncate" | "cut" | "hang";

export interface GenerationRequest {
  stream: boolean;
  seed: number;
  tokens: number;
  endedByLimit: boolean;
  includeUsage: boolean;
  promptTokens: number;
  pingIntervalMs: number;
  paceMs: number;
  firstTokenMs: number;
  /** About how long each event's JSON is made, in bytes. 0: as it comes. */
  eventBytes: number;
  ending: Ending;
  /** The POST's connection is destroyed after this many bytes of its body. */
  cutAfterBytes: number;
}

export interface RequestDefaults {
  maxTokens: number;
  paceMs: number;
  firstTokenMs: number;
  pingIntervalMs: number;
}

export function parseBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    const what = body === "" ? "attempting to parse an empty input" : (cause as Error).message;
    throw new Refusal(400, `[json.exception.parse_error.101] parse error: ${what}`);
  }
}

export function requirePrompt(route: GeneratingRoute, parsed: unknown): Json {
  const body = isJson(parsed) ? parsed : {};
  const prompt = body[route.prompt];
  const isNamed = route.prompt === "messages" || route.prompt === "input";
  if (prompt === undefined) {
    const message = isNamed
      ? `'${route.prompt}' is required`
      : `[json.exception.out_of_range.403] key '${route.prompt}' not found`;
    throw route.missingPromptIsServerError ? new Refusal(500, message, "server_error") : new Refusal(400, message);
  }
  if (route.prompt === "messages" && !Array.isArray(prompt)) {
    throw new Refusal(400, "Expected 'messages' to be an array");
  }
  return body;
}

export function parseRequest(route: GeneratingRoute, body: Json, defaults: RequestDefaults): GenerationRequest {
  const limit =
    number(body, "max_tokens") ??
    number(body, "max_completion_tokens") ??
    number(body, "n_predict") ??
    number(body, "max_output_tokens");
  for (const field of ["temperature", "top_p", "top_k", "min_p"]) number(body, field);
  const promptTokens = countPrompt(route, body);
  if (promptTokens > CONTEXT_TOKENS) {
    const message = `request (${promptTokens} tokens) exceeds the available context size (${CONTEXT_TOKENS} tokens), try increasing it`;
    const numbers = { n_prompt_tokens: promptTokens, n_ctx: CONTEXT_TOKENS };
    throw new Refusal(400, message, "exceed_context_size_error", numbers);
  }

  const demo = isJson(body.demo) ? body.demo : {};
  const wanted = number(demo, "tokens");
  const limited = limit !== undefined && limit >= 0;
  const pingSeconds = number(body, "sse_ping_interval");
  const streamOptions = isJson(body.stream_options) ? body.stream_options : {};
  return {
    stream: body.stream === true,
    seed: number(body, "seed") ?? Math.floor(Math.random() * 2 ** 32),
    tokens: Math.max(1, wanted ?? (limited ? limit : defaults.maxTokens)),
    endedByLimit: limited,
    includeUsage: streamOptions.include_usage === true,
    promptTokens,
    pingIntervalMs: pingSeconds === undefined ? defaults.pingIntervalMs : pingSeconds * 1000,
    paceMs: number(demo, "pace_ms") ?? defaults.paceMs,
    firstTokenMs: number(demo, "first_token_ms") ?? defaults.firstTokenMs,
    eventBytes: number(demo, "event_bytes") ?? 0,
    ending: (demo.ending as Ending | undefined) ?? "done",
    cutAfterBytes: number(demo, "cut_after_bytes") ?? Number.POSITIVE_INFINITY,
  };
}

/** The answer a test asked for instead of a generation. */
export function refusalAskedFor(body: Json): Refusal | undefined {
  const refuse = isJson(body.demo) && isJson(body.demo.refuse) ? body.demo.refuse : undefined;
  if (!refuse) return undefined;
  const status = number(refuse, "status") ?? 500;
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  return new Refusal(status, String(refuse.message ?? "refused as asked"), type);
}

export function headersAfterMs(body: Json): number {
  return (isJson(body.demo) ? number(body.demo, "headers_after_ms") : undefined) ?? 0;
}

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function number(body: Json, field: string): number | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number") return value;
  const message = `Field '${field}': [json.exception.type_error.302] type must be number, but is ${typeof value}`;
  throw new Refusal(400, message);
}

function countPrompt(route: GeneratingRoute, body: Json): number {
  if (route.prompt !== "messages") return TEMPLATE_TOKENS + String(body[route.prompt]).length;
  let characters = 0;
  for (const message of body.messages as unknown[]) {
    const content = isJson(message) ? message.content : undefined;
    const isAssistant = isJson(message) && message.role === "assistant";
    if (content === undefined && !isAssistant) {
      throw new Refusal(400, "All non-assistant messages must contain 'content'");
    }
    characters += (typeof content === "string" ? content : JSON.stringify(content ?? "")).length;
  }
  return TEMPLATE_TOKENS + characters;
}
