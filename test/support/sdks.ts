/**
 * The SDKs that people put in front of llama-server, each reduced to one question and its text. All of them take a `fetch`,
 * and none goes on after a broken body by itself.
 */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { importFromExamples } from "./examples.ts";

export interface Question {
  prompt: string;
  tokens: number;
  conversation: string;
}

export interface Sdk {
  readonly name: string;
  /** Asks, and reads the answer to its end. */
  ask(url: string, fetch: typeof globalThis.fetch, question: Question): Promise<string>;
}

/** What AI SDK 7 exports, as far as it is used here. */
interface Ai {
  streamText(options: { model: unknown; prompt: string; maxOutputTokens: number; headers: Record<string, string> }): {
    fullStream: AsyncIterable<{ type: string; text?: string; error?: unknown }>;
  };
}

interface OpenAICompatible {
  createOpenAICompatible(options: {
    name: string;
    baseURL: string;
    fetch: typeof globalThis.fetch;
  }): (model: string) => unknown;
}

interface LangChain {
  ChatOpenAI: new (options: {
    model: string;
    apiKey: string;
    maxTokens: number;
    configuration: { baseURL: string; fetch: typeof globalThis.fetch; defaultHeaders: Record<string, string> };
  }) => { stream(prompt: string): Promise<AsyncIterable<{ content: unknown }>> };
}

const MODEL = "tiny";
const conversationHeader = ({ conversation }: Question) => ({ "X-Conversation-Id": conversation });

const openai: Sdk = {
  name: "OpenAI SDK",
  async ask(url, fetch, question) {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "in the fetch", fetch });
    const messages = [{ role: "user" as const, content: question.prompt }];
    const body = { model: MODEL, messages, max_tokens: question.tokens, stream: true as const };
    let text = "";
    for await (const chunk of await client.chat.completions.create(body, { headers: conversationHeader(question) })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return text;
  },
};

const anthropic: Sdk = {
  name: "Anthropic SDK",
  async ask(url, fetch, question) {
    const client = new Anthropic({ baseURL: url, apiKey: "in the fetch", fetch });
    const messages = [{ role: "user" as const, content: question.prompt }];
    const body = { model: MODEL, messages, max_tokens: question.tokens };
    return await client.messages.stream(body, { headers: conversationHeader(question) }).finalText();
  },
};

const aiSdk: Sdk = {
  name: "AI SDK",
  async ask(url, fetch, question) {
    const { streamText } = await importFromExamples<Ai>("ai");
    const { createOpenAICompatible } = await importFromExamples<OpenAICompatible>("@ai-sdk/openai-compatible");
    const provider = createOpenAICompatible({ name: "holdfast", baseURL: `${url}/v1`, fetch });
    const { prompt, tokens } = question;
    const headers = conversationHeader(question);
    let text = "";
    for await (const part of streamText({ model: provider(MODEL), prompt, maxOutputTokens: tokens, headers })
      .fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
    }
    return text;
  },
};

const langChain: Sdk = {
  name: "LangChain",
  async ask(url, fetch, question) {
    const { ChatOpenAI } = await importFromExamples<LangChain>("@langchain/openai");
    const configuration = { baseURL: `${url}/v1`, fetch, defaultHeaders: conversationHeader(question) };
    const model = new ChatOpenAI({ model: MODEL, apiKey: "in the fetch", maxTokens: question.tokens, configuration });
    let text = "";
    for await (const { content } of await model.stream(question.prompt)) text += content;
    return text;
  },
};

export const SDKS: readonly Sdk[] = [openai, aiSdk, langChain, anthropic];
