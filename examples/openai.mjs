// OpenAI's SDK. Pull the plug while it runs: the answer goes on where it was.
//
//   npm start                                                  in one terminal; in another, once:
//   npm run build:client && npm ci --prefix examples
//   node examples/openai.mjs "Tell me about the sea"
import { readFileSync } from "node:fs";
import { createResumingFetch } from "holdfast/client";
import OpenAI from "openai";

const url = process.env.HOLDFAST_URL ?? "http://127.0.0.1:8787";
const apiKey = process.env.HOLDFAST_KEY ?? readFileSync(".holdfast/api-key", "utf8").trim();
const [prompt = "Tell me about the sea", conversationId = crypto.randomUUID()] = process.argv.slice(2);

const client = new OpenAI({
  baseURL: `${url}/v1`,
  apiKey,
  fetch: createResumingFetch({ url, apiKey, conversationId }), // the only line that is not as ever
});

const stream = await client.chat.completions.create({
  model: "any",
  messages: [{ role: "user", content: prompt }],
  max_tokens: 200,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
process.stdout.write("\n");
