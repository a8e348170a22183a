/**
 * The official SDKs of OpenAI and Anthropic in front of a real gateway process: a whole answer arrives whole, an answer
 * that is not whole is always an error, and the retries that the SDKs make by themselves cost no second generation.
 */
import Anthropic from "@anthropic-ai/sdk";
import { Stream as AnthropicStream } from "@anthropic-ai/sdk/core/streaming";
import type { RawMessageStreamEvent } from "@anthropic-ai/sdk/resources/messages";
import OpenAI from "openai";
import { Stream as OpenAIStream } from "openai/core/streaming";
import type { ChatCompletionChunk } from "openai/resources/chat/completions";
import type { Completion } from "openai/resources/completions";
import type { ResponseStreamEvent } from "openai/resources/responses/responses";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { startDemoOrigin } from "../../demo/origin.ts";
import { until } from "../../tools/wait.ts";
import { send } from "../support/http.ts";
import { it } from "../support/own-site.ts";
import { chatBody, KEY, Site } from "../support/site.ts";

/** Where the SDKs send what, and which conversation they belong to; without one it is the strict path. */
interface Connection {
  url: string;
  conversation?: string;
  maxRetries?: number;
}

interface Question {
  prompt: string;
  tokens: number;
  /** Further fields of the request's body. */
  more?: Record<string, unknown>;
}

/** One route of the API, as its official SDK sees it. */
interface Family {
  path: string;
  /** What the SDK raises when the gateway or the origin says that something failed. */
  error: typeof OpenAI.APIError | typeof Anthropic.APIError;
  /** Asks for a stream; resolves when the SDK has its headers. */
  stream(connection: Connection, question: Question): Promise<{ texts: AsyncIterable<string>; response: Response }>;
  /** Asks for one JSON answer. */
  whole(connection: Connection, question: Question): Promise<string>;
  /** The text that the SDK reads in an event stream. */
  read(response: Response): AsyncIterable<string>;
}

/** What came of reading an answer. */
interface Outcome {
  text: string;
  error: unknown;
}

const MODEL = "tiny";
const DONE = "data: [DONE]\n\n";

const FAMILIES: Record<string, Family> = {
  "chat.completions": {
    path: "/v1/chat/completions",
    error: OpenAI.APIError,
    async stream(connection, question) {
      const body = { ...chatFields(question), ...question.more, stream: true as const };
      const { data, response } = await openai(connection).chat.completions.create(body).withResponse();
      return { texts: chatTexts(data), response };
    },
    async whole(connection, question) {
      const body = { ...chatFields(question), ...question.more, stream: false as const };
      const answer = await openai(connection).chat.completions.create(body);
      return answer.choices[0]?.message.content ?? "";
    },
    read: (response) => chatTexts(OpenAIStream.fromSSEResponse<ChatCompletionChunk>(response, new AbortController())),
  },
  completions: {
    path: "/v1/completions",
    error: OpenAI.APIError,
    async stream(connection, question) {
      const body = { ...completionFields(question), ...question.more, stream: true as const };
      const { data, response } = await openai(connection).completions.create(body).withResponse();
      return { texts: completionTexts(data), response };
    },
    async whole(connection, question) {
      const body = { ...completionFields(question), ...question.more, stream: false as const };
      return (await openai(connection).completions.create(body)).choices[0]?.text ?? "";
    },
    read: (response) => completionTexts(OpenAIStream.fromSSEResponse<Completion>(response, new AbortController())),
  },
  responses: {
    path: "/v1/responses",
    error: OpenAI.APIError,
    async stream(connection, question) {
      const body = { ...responsesFields(question), ...question.more, stream: true as const };
      const { data, response } = await openai(connection).responses.create(body).withResponse();
      return { texts: responsesTexts(data), response };
    },
    async whole(connection, question) {
      const body = { ...responsesFields(question), ...question.more, stream: false as const };
      return (await openai(connection).responses.create(body)).output_text;
    },
    read: (response) =>
      responsesTexts(OpenAIStream.fromSSEResponse<ResponseStreamEvent>(response, new AbortController())),
  },
  messages: {
    path: "/v1/messages",
    error: Anthropic.APIError,
    async stream(connection, question) {
      const body = { ...messagesFields(question), ...question.more, stream: true as const };
      const { data, response } = await anthropic(connection).messages.create(body).withResponse();
      return { texts: messagesTexts(data), response };
    },
    async whole(connection, question) {
      const body = { ...messagesFields(question), ...question.more, stream: false as const };
      const { content } = await anthropic(connection).messages.create(body);
      return content.map((block) => (block.type === "text" ? block.text : "")).join("");
    },
    read: (response) =>
      messagesTexts(AnthropicStream.fromSSEResponse<RawMessageStreamEvent>(response, new AbortController())),
  },
};

const EVERY_FAMILY = Object.entries(FAMILIES);

describe("an answer that arrives", () => {
  let site: Site;

  beforeAll(async () => {
    site = await Site.start({ slots: 4, paceMs: 2 });
  });
  afterAll(() => site.close());

  it.each(EVERY_FAMILY)("%s: is whole, and is what the origin said", async (name, family) => {
    const conversation = `whole ${name}`;
    const question = { prompt: `whole-${name}`, tokens: 60 };
    const { texts, response } = await family.stream({ url: site.front.url, conversation }, question);
    const text = await joined(texts);
    expect(text.split(" ").length).toBeGreaterThan(20);
    expect(text).toBe(await saidByOrigin(site, family, question));
    expect(response.headers.get("holdfast-session")).toMatch(/^[0-9a-f-]{36}$/);
    expect(await site.row(conversation)).toMatchObject({ is_done: true, end: "done", reattached: 0 });
  });

  it.each(EVERY_FAMILY)("%s: without stream is whole, and can be collected again", async (name, family) => {
    const conversation = `json ${name}`;
    const question = { prompt: `json-${name}`, tokens: 40 };
    const text = await family.whole({ url: site.front.url, conversation }, question);
    expect(text.split(" ").length).toBeGreaterThan(15);
    const collected = JSON.parse((await site.replay(conversation)).toString());
    expect(JSON.stringify(collected)).toContain(JSON.stringify(text).slice(1, -1));
  });

  it.each(EVERY_FAMILY)(
    "%s: without a conversation id is whole too, and nothing is kept of it",
    async (name, family) => {
      const question = { prompt: `strict-${name}`, tokens: 60 };
      const { texts, response } = await family.stream({ url: site.front.url }, question);
      expect((await joined(texts)).split(" ").length).toBeGreaterThan(20);
      expect(response.headers.get("holdfast-session")).toBeNull();
      const asked = askedAtOrigin(site, question);
      expect(asked.map(({ path, headers }) => [path, headers.get("x-conversation-id")])).toEqual([
        [family.path, undefined],
      ]);
    },
  );
});

describe.concurrent("an answer that does not arrive", () => {
  it.for(EVERY_FAMILY)("%s: that the origin ends too early is an error", async ([name, family], { start }) => {
    // llama-server cannot be made to do it, so here it is always the demo origin.
    const site = await start({ behind: await startDemoOrigin({ paceMs: 2 }) });
    const conversation = `cut ${name}`;
    const question = { prompt: `cut-${name}`, tokens: 60, more: { demo: { ending: "truncate" } } };
    const { texts } = await family.stream({ url: site.front.url, conversation }, question);
    expectError(family, await outcomeOf(texts), "The origin ended the answer before it was complete");
    // A clean end proves nothing: the gateway has looked whether there is more.
    expect(await site.row(conversation)).toMatchObject({ is_done: true, end: "origin_truncated", reattached: 1 });
    const later = family.read(new Response(await replayed(site, conversation)));
    expectError(family, await outcomeOf(later), "The origin ended the answer before it was complete");
  });

  it("/completion: that the origin ends too early is an error event in place of the final one", async ({ start }) => {
    const site = await start({ behind: await startDemoOrigin({ paceMs: 2 }) });
    const answer = await send("POST", `${site.front.url}/completion`, {
      headers: { authorization: `Bearer ${KEY}`, "x-conversation-id": "native" },
      body: { prompt: "native", n_predict: 60, stream: true, demo: { ending: "truncate" } },
    }).answer;
    const events = (await answer.whole()).toString().split("\n\n").filter(Boolean);
    expect(events.length).toBe(61);
    expect(events.filter((event) => event.includes('"stop":true'))).toEqual([]);
    expect(JSON.parse(events.at(-1)?.slice("data: ".length) ?? "")).toEqual({
      error: { code: 502, message: "The origin ended the answer before it was complete", type: "origin_truncated" },
    });
    expect(await site.row("native")).toMatchObject({ end: "origin_truncated", reattached: 1 });
  });

  it.for(EVERY_FAMILY)("%s: whose origin is lost is an error", async ([name, family], { start }) => {
    const site = await start({ paceMs: 5, vars: { RECONNECT_SECONDS: "1" } });
    const conversation = `lost ${name}`;
    const { texts } = await family.stream(
      { url: site.front.url, conversation },
      { prompt: `lost-${name}`, tokens: 4_000 },
    );
    const lost = "The connection to the origin was lost and the rest of the answer cannot be recovered";
    const outcome = outcomeOf(texts);
    await someBytes(site, conversation);
    site.back.faults = { isRefusing: true };
    site.back.cutAll();
    expectError(family, await outcome, lost);
    expect(await site.row(conversation)).toMatchObject({ is_done: true, end: "origin_lost", reattached: 0 });
  });

  it("/completion: whose origin is lost has an error event in place of the final one", async ({ start }) => {
    const site = await start({ paceMs: 5, vars: { RECONNECT_SECONDS: "1" } });
    const answer = await send("POST", `${site.front.url}/completion`, {
      headers: { authorization: `Bearer ${KEY}`, "x-conversation-id": "native" },
      body: { prompt: "native", n_predict: 4_000, stream: true, seed: 1 },
    }).answer;
    await answer.readUntil(2_000);
    site.back.faults = { isRefusing: true };
    site.back.cutAll();
    const text = (await answer.whole()).toString();
    expect(text).not.toContain('"stop":true');
    expect(text).toMatch(/\n\ndata: {"error":{"code":502,"message":"[^"]+","type":"origin_lost"}}\n\n$/);
    expect(await site.row("native")).toMatchObject({ end: "origin_lost", reattached: 0 });
  });

  it.for(EVERY_FAMILY)(
    "%s: whose gateway is killed is an error, and the whole of it is there later",
    async ([name, family], { start }) => {
      const site = await start({ paceMs: 5 });
      const conversation = `killed ${name}`;
      const question = { prompt: `killed-${name}`, tokens: 300 };
      const { texts } = await family.stream({ url: site.front.url, conversation }, question);
      const outcome = outcomeOf(texts);
      await someBytes(site, conversation);
      await site.restartGateway();
      expect((await outcome).error).toBeInstanceOf(Error);
      const later = await joined(family.read(new Response(await replayed(site, conversation))));
      expect(later).toBe(await saidByOrigin(site, family, question));
      expect(await site.row(conversation)).toMatchObject({ end: "done", reattached: 1 });
    },
  );

  it.for(EVERY_FAMILY)(
    "%s: because a newer request took the conversation over is an error",
    async ([name, family], { start }) => {
      const site = await start({ paceMs: 5 });
      const conversation = `replaced ${name}`;
      const old = await family.stream({ url: site.front.url, conversation }, { prompt: `old-${name}`, tokens: 4_000 });
      const outcome = outcomeOf(old.texts);
      await someBytes(site, conversation);
      const question = { prompt: `new-${name}`, tokens: 30 };
      const { texts } = await family.stream({ url: site.front.url, conversation }, question);
      expectError(family, await outcome, "A newer request took this conversation over");
      expect(await joined(texts)).toBe(await saidByOrigin(site, family, question));
    },
  );
});

describe.concurrent("an SDK that tries again by itself", () => {
  it.for(EVERY_FAMILY)(
    "%s: after a connection cut in its headers joins the live answer",
    async ([name, family], { start }) => {
      const site = await start({ paceMs: 5 });
      const conversation = `joined ${name}`;
      const question = { prompt: `joined-${name}`, tokens: 400 };
      site.front.faults = { cutAfterBytes: [10, 100] };
      const asked = family.stream({ url: site.front.url, conversation, maxRetries: 2 }, question);
      await until(() => site.front.cuts === 1, "the first connection is cut");
      site.front.faults = {};
      const text = await joined((await asked).texts);
      expect(text).toBe(await saidByOrigin(site, family, question));
      expect(postsOf(site, question).map(({ headers }) => headers.get("x-stainless-retry-count"))).toEqual(["0", "1"]);
      expect(askedAtOrigin(site, question).length).toBe(1);
      expect(await site.origin.generations(400)).toBe(1);
    },
  );

  it.for(EVERY_FAMILY)("%s: while its request waits for a slot keeps its place", async ([name, family], { start }) => {
    const site = await start({ paceMs: 5, slots: 1 });
    const conversation = `queued ${name}`;
    const busy = site.chat("busy", chatBody("busy", 300));
    await until(async () => (await site.origin.busySlots()) === 1, "the only slot is busy");
    const question = { prompt: `queued-${name}`, tokens: 300 };
    const asked = family.stream({ url: site.front.url, conversation, maxRetries: 2 }, question);
    await until(() => askedAtOrigin(site, question).length === 1, "the origin was asked");
    site.front.cutAll();
    expect(await joined((await asked).texts)).toBe(await saidByOrigin(site, family, question));
    expect((await (await busy.answer).whole()).toString().endsWith(DONE)).toBe(true);
    expect(postsOf(site, question).length).toBe(2);
    expect(askedAtOrigin(site, question).length).toBe(1);
    expect(await site.origin.generations(300)).toBe(2);
  });

  it.for(EVERY_FAMILY)("%s: does not undo the user's stop", async ([name, family], { start }) => {
    const site = await start({ paceMs: 5 });
    const conversation = `stopped ${name}`;
    const question = { prompt: `stopped-${name}`, tokens: 400 };
    const refused = family
      .whole({ url: site.front.url, conversation, maxRetries: 2 }, question)
      .catch((error: unknown) => error);
    await until(async () => (await site.origin.busySlots()) === 1, "the answer is being made");
    expect(await site.stop(conversation)).toBe(204);
    expect(await refused).toMatchObject({
      status: 409,
      message: expect.stringContaining("The conversation was stopped"),
    });
    expect(postsOf(site, question).length).toBe(1);
    expect(await site.row(conversation)).toBeUndefined();
  });

  it.for(EVERY_FAMILY)(
    "%s: does not take the conversation back from a newer request",
    async ([name, family], { start }) => {
      const site = await start({ paceMs: 5 });
      const conversation = `json replaced ${name}`;
      const question = { prompt: `old-${name}`, tokens: 400 };
      const refused = family
        .whole({ url: site.front.url, conversation, maxRetries: 2 }, question)
        .catch((error: unknown) => error);
      await until(async () => (await site.origin.busySlots()) === 1, "the answer is being made");
      const newer = { prompt: `new-${name}`, tokens: 30 };
      const { texts } = await family.stream({ url: site.front.url, conversation }, newer);
      expect(await refused).toMatchObject({ status: 409, message: expect.stringContaining("A newer request took") });
      expect(await joined(texts)).toBe(await saidByOrigin(site, family, newer));
      expect(postsOf(site, question).length).toBe(1);
      expect(await site.row(conversation)).toMatchObject({ end: "done" });
    },
  );
});

function openai({ url, conversation, maxRetries = 0 }: Connection): OpenAI {
  return new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: KEY,
    maxRetries,
    defaultHeaders: conversationHeader(conversation),
  });
}

function anthropic({ url, conversation, maxRetries = 0 }: Connection): Anthropic {
  return new Anthropic({ baseURL: url, apiKey: KEY, maxRetries, defaultHeaders: conversationHeader(conversation) });
}

function conversationHeader(conversation: string | undefined): Record<string, string> {
  return conversation === undefined ? {} : { "X-Conversation-Id": conversation };
}

function chatFields({ prompt, tokens }: Question) {
  return { model: MODEL, messages: [{ role: "user" as const, content: prompt }], max_tokens: tokens };
}

function completionFields({ prompt, tokens }: Question) {
  return { model: MODEL, prompt, max_tokens: tokens };
}

function responsesFields({ prompt, tokens }: Question) {
  return { model: MODEL, input: prompt, max_output_tokens: tokens };
}

function messagesFields({ prompt, tokens }: Question) {
  return { model: MODEL, messages: [{ role: "user" as const, content: prompt }], max_tokens: tokens };
}

async function* chatTexts(chunks: AsyncIterable<ChatCompletionChunk>): AsyncIterable<string> {
  for await (const chunk of chunks) yield chunk.choices[0]?.delta.content ?? "";
}

async function* completionTexts(chunks: AsyncIterable<Completion>): AsyncIterable<string> {
  for await (const chunk of chunks) yield chunk.choices[0]?.text ?? "";
}

async function* responsesTexts(events: AsyncIterable<ResponseStreamEvent>): AsyncIterable<string> {
  for await (const event of events) if (event.type === "response.output_text.delta") yield event.delta;
}

async function* messagesTexts(events: AsyncIterable<RawMessageStreamEvent>): AsyncIterable<string> {
  for await (const event of events) {
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") yield event.delta.text;
  }
}

async function joined(texts: AsyncIterable<string>): Promise<string> {
  let all = "";
  for await (const text of texts) all += text;
  return all;
}

/** Reads to the end or to the error. Starts at once and never rejects, so that it can be asked for later. */
async function outcomeOf(texts: AsyncIterable<string>): Promise<Outcome> {
  let text = "";
  try {
    for await (const piece of texts) text += piece;
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  }
}

/** There was some text, and then the SDK's own error: it was not taken for complete. */
function expectError(family: Family, { text, error }: Outcome, message: string): void {
  expect(error).toBeInstanceOf(family.error);
  expect(String(error)).toContain(message);
  expect(text.length).toBeGreaterThan(0);
}

async function someBytes(site: Site, conversation: string): Promise<void> {
  await until(async () => ((await site.row(conversation))?.total_bytes ?? 0) > 2_000, "there are bytes");
}

/** What the SDK makes of the bytes that an undisturbed reader of the origin gets. */
async function saidByOrigin(site: Site, family: Family, { prompt }: Question): Promise<string> {
  return await joined(family.read(new Response(await site.atOrigin(prompt))));
}

/** A copy on a buffer of its own, which is what a Response takes. */
async function replayed(site: Site, conversation: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await site.replay(conversation));
}

/** The requests for a generation that reached the origin. */
function askedAtOrigin(site: Site, { prompt }: Question) {
  return site.back.requests.filter(({ method, body }) => method === "POST" && body.includes(`"${prompt}"`));
}

/** The requests that the SDK made of the gateway. */
function postsOf(site: Site, { prompt }: Question) {
  return site.front.requests.filter(({ method, body }) => method === "POST" && body.includes(`"${prompt}"`));
}
