/**
 * How each generating route of llama-server says the same text: its events, its terminator, its errors and its
 * JSON answer. The shapes were copied from llama-server 0.7.0 (build 11669).
 *
 *     opening ─▶ text, text, … ─▶ closing      a whole answer
 *                              ├▶ (nothing)    truncated or stopped
 *                              └▶ failure      an error in the middle
 */
import { random, tokenOf } from "./sea.ts";

export const DEMO_MODEL = "demo";

/** What a token is said to take where none is waited for, milliseconds. */
const UNPACED_MS = 0.1;

const FINGERPRINT = "demo-origin";

/** One event's JSON and, where the route uses them, its `event:` name. A string is sent as it is (`[DONE]`). */
export interface OriginEvent {
  name?: string;
  data: Record<string, unknown> | string;
}

/** What tells two answers to the same request apart. */
export interface Identity {
  /** When a slot took the request, Unix milliseconds. */
  readonly startedAt: number;
  /** Where the answer's ids come from. */
  readonly salt: number;
}

export interface AnswerFacts {
  promptTokens: number;
  /** Whether `max_tokens` ended the text, rather than the text itself. */
  endedByLimit: boolean;
  slotId: number;
  includeUsage: boolean;
  /** Between two tokens. */
  paceMs: number;
  identity: Identity;
}

export abstract class Dialect {
  protected readonly facts: AnswerFacts;
  protected readonly created: number;
  protected readonly id: string;
  protected text = "";
  protected tokens = 0;
  readonly #random: () => number;

  constructor(facts: AnswerFacts) {
    this.facts = facts;
    this.created = Math.floor(facts.identity.startedAt / 1000);
    this.#random = random(facts.identity.salt);
    this.id = `chatcmpl-${this.letters()}`;
  }

  /** Takes a word into the answer and says it as events. */
  add(word: string): OriginEvent[] {
    this.text += word;
    this.tokens++;
    return this.word(word);
  }

  opening(): OriginEvent[] {
    return [];
  }
  protected abstract word(word: string): OriginEvent[];
  abstract closing(): OriginEvent[];
  abstract whole(): Record<string, unknown>;

  failure(code: number, message: string, type: string): OriginEvent {
    return { data: { error: { code, message, type } } };
  }

  /** As asked for, not as measured: the same answer has the same bytes, however busy the machine is. */
  protected timings(): Record<string, number> {
    const spent = this.tokens * Math.max(this.facts.paceMs, UNPACED_MS);
    return {
      cache_n: 0,
      prompt_n: this.facts.promptTokens,
      prompt_ms: 1,
      prompt_per_token_ms: 1 / this.facts.promptTokens,
      prompt_per_second: 1000 * this.facts.promptTokens,
      predicted_n: this.tokens,
      predicted_ms: spent,
      predicted_per_token_ms: spent / this.tokens,
      predicted_per_second: (1000 * this.tokens) / spent,
    };
  }

  protected letters(): string {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    return Array.from({ length: 32 }, () => alphabet[Math.floor(this.#random() * alphabet.length)]).join("");
  }

  protected usage(): Record<string, unknown> {
    return {
      completion_tokens: this.tokens,
      prompt_tokens: this.facts.promptTokens,
      total_tokens: this.facts.promptTokens + this.tokens,
      prompt_tokens_details: { cached_tokens: 0 },
    };
  }
}

export class Chat extends Dialect {
  override opening(): OriginEvent[] {
    return [this.#chunk({ role: "assistant", content: null })];
  }

  word(word: string): OriginEvent[] {
    return [this.#chunk({ content: word })];
  }

  closing(): OriginEvent[] {
    const finish = this.#chunk({}, this.#finishReason());
    if (!this.facts.includeUsage) return [withMore(finish, { timings: this.timings() }), DONE];
    const usage = withMore(this.#chunk({}), { choices: [], usage: this.usage(), timings: this.timings() });
    return [finish, usage, DONE];
  }

  whole(): Record<string, unknown> {
    const message = { role: "assistant", content: this.text };
    return {
      choices: [{ finish_reason: this.#finishReason(), index: 0, message }],
      ...this.#head("chat.completion"),
      usage: this.usage(),
      timings: this.timings(),
    };
  }

  #chunk(delta: Record<string, unknown>, finishReason: string | null = null): OriginEvent {
    const choices = [{ finish_reason: finishReason, index: 0, delta }];
    return { data: { choices, ...this.#head("chat.completion.chunk") } };
  }

  #head(object: string): Record<string, unknown> {
    return { created: this.created, id: this.id, model: DEMO_MODEL, system_fingerprint: FINGERPRINT, object };
  }

  #finishReason(): string {
    return this.facts.endedByLimit ? "length" : "stop";
  }
}

/** `/v1/completions` */
export class Text extends Dialect {
  word(word: string): OriginEvent[] {
    return [{ data: this.#answer(word, null) }];
  }

  closing(): OriginEvent[] {
    return [{ data: { ...this.#answer("", this.#finishReason()), ...this.#summary() } }, DONE];
  }

  whole(): Record<string, unknown> {
    return { ...this.#answer(this.text, this.#finishReason()), ...this.#summary() };
  }

  #answer(text: string, finishReason: string | null): Record<string, unknown> {
    return {
      choices: [{ text, index: 0, logprobs: null, finish_reason: finishReason }],
      created: this.created,
      model: DEMO_MODEL,
      system_fingerprint: FINGERPRINT,
      object: "text_completion",
      id: this.id,
    };
  }

  #summary(): Record<string, unknown> {
    return { usage: this.usage(), timings: this.timings() };
  }

  #finishReason(): string {
    return this.facts.endedByLimit ? "length" : "stop";
  }
}

/** `/completion`, `/completions` and `/infill`: llama-server's own format, which ends without `[DONE]`. */
export class Native extends Dialect {
  word(word: string): OriginEvent[] {
    const counts = { tokens_predicted: this.tokens, tokens_evaluated: this.facts.promptTokens };
    return [{ data: { index: 0, content: word, tokens: [tokenOf(word)], stop: false, id_slot: -1, ...counts } }];
  }

  closing(): OriginEvent[] {
    return [{ data: this.#answer("", true) }];
  }

  whole(): Record<string, unknown> {
    return this.#answer(this.text, false);
  }

  #answer(content: string, stream: boolean): Record<string, unknown> {
    return {
      index: 0,
      content,
      tokens: [],
      id_slot: this.facts.slotId,
      stop: true,
      model: DEMO_MODEL,
      tokens_predicted: this.tokens,
      tokens_evaluated: this.facts.promptTokens,
      generation_settings: { n_predict: this.tokens, stream },
      prompt: "",
      has_new_line: false,
      truncated: false,
      stop_type: this.facts.endedByLimit ? "limit" : "eos",
      stopping_word: "",
      tokens_cached: this.facts.promptTokens + this.tokens,
      timings: this.timings(),
    };
  }
}

/** OpenAI Responses */
export class Responses extends Dialect {
  readonly #responseId = `resp_${this.letters()}`;
  readonly #messageId = `msg_${this.letters()}`;

  override opening(): OriginEvent[] {
    const response = { id: this.#responseId, object: "response", status: "in_progress" };
    const item = { content: [], id: this.#messageId, role: "assistant", status: "in_progress", type: "message" };
    const part = { type: "output_text", text: "" };
    return [
      typed("response.created", { response }),
      typed("response.in_progress", { response }),
      typed("response.output_item.added", { item }),
      typed("response.content_part.added", { item_id: this.#messageId, part }),
    ];
  }

  word(word: string): OriginEvent[] {
    return [typed("response.output_text.delta", { item_id: this.#messageId, delta: word })];
  }

  closing(): OriginEvent[] {
    return [
      typed("response.output_text.done", { item_id: this.#messageId, text: this.text }),
      typed("response.content_part.done", { item_id: this.#messageId, part: this.#part() }),
      typed("response.output_item.done", { item: this.#item() }),
      typed("response.completed", {
        response: {
          id: this.#responseId,
          object: "response",
          created_at: this.created,
          status: "completed",
          model: DEMO_MODEL,
          output: [this.#item()],
          usage: this.#tokensUsed(),
        },
        timings: this.timings(),
      }),
    ];
  }

  whole(): Record<string, unknown> {
    return {
      completed_at: Math.floor(Date.now() / 1000),
      created_at: this.created,
      id: this.#responseId,
      model: DEMO_MODEL,
      object: "response",
      output: [this.#item()],
      status: "completed",
      usage: this.#tokensUsed(),
    };
  }

  #part(): Record<string, unknown> {
    return { type: "output_text", annotations: [], logprobs: [], text: this.text };
  }

  #item(): Record<string, unknown> {
    return { type: "message", status: "completed", id: this.#messageId, content: [this.#part()], role: "assistant" };
  }

  #tokensUsed(): Record<string, unknown> {
    return {
      input_tokens: this.facts.promptTokens,
      output_tokens: this.tokens,
      total_tokens: this.facts.promptTokens + this.tokens,
      input_tokens_details: { cached_tokens: 0 },
    };
  }
}

/** Anthropic Messages */
export class Messages extends Dialect {
  override opening(): OriginEvent[] {
    const message = { ...this.#message([], null), usage: this.#tokensUsed() };
    const block = { type: "text", text: "" };
    return [typed("message_start", { message }), typed("content_block_start", { index: 0, content_block: block })];
  }

  word(word: string): OriginEvent[] {
    return [typed("content_block_delta", { index: 0, delta: { type: "text_delta", text: word } })];
  }

  closing(): OriginEvent[] {
    const delta = { stop_reason: this.#stopReason(), stop_sequence: null };
    return [
      typed("content_block_stop", { index: 0 }),
      typed("message_delta", { delta, usage: { output_tokens: this.tokens } }),
      typed("message_stop", {}),
    ];
  }

  whole(): Record<string, unknown> {
    const content = [{ type: "text", text: this.text }];
    return { ...this.#message(content, this.#stopReason()), usage: this.#tokensUsed() };
  }

  /** Without the `error` around it, as the real server sends it here. */
  override failure(code: number, message: string, type: string): OriginEvent {
    return { name: "error", data: { code, message, type } };
  }

  #message(content: unknown[], stopReason: string | null): Record<string, unknown> {
    return {
      id: this.id,
      type: "message",
      role: "assistant",
      content,
      model: DEMO_MODEL,
      stop_reason: stopReason,
      stop_sequence: null,
    };
  }

  #tokensUsed(): Record<string, number> {
    return { cache_read_input_tokens: 0, input_tokens: this.facts.promptTokens, output_tokens: this.tokens };
  }

  #stopReason(): string {
    return this.facts.endedByLimit ? "max_tokens" : "end_turn";
  }
}

const DONE: OriginEvent = { data: "[DONE]" };

/** An event whose name is also in its JSON. */
function typed(name: string, data: Record<string, unknown>): OriginEvent {
  return { name, data: { type: name, ...data } };
}

function withMore(event: OriginEvent, more: Record<string, unknown>): OriginEvent {
  return typeof event.data === "string" ? event : { ...event, data: { ...event.data, ...more } };
}
