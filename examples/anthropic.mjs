// Anthropic's SDK, against llama-server's /v1/messages.
//
//   npm start                                                  in one terminal; in another, once:
//   npm run build:client && npm ci --prefix examples
//   node examples/anthropic.mjs "Tell me about the sea"
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import { createResumingFetch } from "holdfast/client";

const url = process.env.HOLDFAST_URL ?? "http://127.0.0.1:8787";
const apiKey = process.env.HOLDFAST_KEY ?? readFileSync(".holdfast/api-key", "utf8").trim();
const [prompt = "Tell me about the sea", conversationId = crypto.randomUUID()] = process.argv.slice(2);

const client = new Anthropic({
  baseURL: url, // without /v1: the SDK adds it
  apiKey,
  fetch: createResumingFetch({ url, apiKey, conversationId }),
});

const stream = client.messages.stream({
  model: "any",
  messages: [{ role: "user", content: prompt }],
  max_tokens: 200,
});
stream.on("text", (text) => process.stdout.write(text));
await stream.finalMessage();
process.stdout.write("\n");
