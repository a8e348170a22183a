// LangChain. Needs Node 22, as LangChain does.
//
//   npm start                                                  in one terminal; in another, once:
//   npm run build:client && npm ci --prefix examples
//   node examples/langchain.mjs "Tell me about the sea"
import { readFileSync } from "node:fs";
import { ChatOpenAI } from "@langchain/openai";
import { createResumingFetch } from "holdfast/client";

const url = process.env.HOLDFAST_URL ?? "http://127.0.0.1:8787";
const apiKey = process.env.HOLDFAST_KEY ?? readFileSync(".holdfast/api-key", "utf8").trim();
const [prompt = "Tell me about the sea", conversationId = crypto.randomUUID()] = process.argv.slice(2);

const model = new ChatOpenAI({
  model: "any",
  apiKey,
  maxTokens: 200,
  configuration: {
    baseURL: `${url}/v1`,
    fetch: createResumingFetch({ url, apiKey, conversationId }),
  },
});

for await (const chunk of await model.stream(prompt)) process.stdout.write(String(chunk.content));
process.stdout.write("\n");
