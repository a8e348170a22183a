// AI SDK 7 with a reload in mid-answer, and without Redis: the gateway keeps the stream, and knows which one is the chat's.
// Needs Node 22, as the AI SDK does.
//
//   npm start                                                  in one terminal; in another, once:
//   npm run build:client && npm ci --prefix examples
//   node examples/ai-sdk.mjs "Tell me about the sea"
import { readFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { convertToModelMessages, DefaultChatTransport, readUIMessageStream, streamText } from "ai";
import { createResumingFetch } from "holdfast/client";

const url = process.env.HOLDFAST_URL ?? "http://127.0.0.1:8787";
const apiKey = process.env.HOLDFAST_KEY ?? readFileSync(".holdfast/api-key", "utf8").trim();
const [prompt = "Tell me about the sea", chatId = crypto.randomUUID()] = process.argv.slice(2);

// ---- The server. Each function is the body of one route handler.

const holdfast = createResumingFetch({ url, apiKey });

function modelOver(fetch) {
  return createOpenAICompatible({ name: "holdfast", baseURL: `${url}/v1`, fetch })("any");
}

/** POST /api/chat */
async function ask({ id, messages }) {
  const result = streamText({
    model: modelOver(holdfast),
    messages: await convertToModelMessages(messages),
    maxOutputTokens: 200,
    headers: { "X-Conversation-Id": id },
  });
  // The message's id is the app's: the replay must have the same.
  return result.toUIMessageStreamResponse({ generateMessageId: () => `answer of ${id}` });
}

/** GET /api/chat/<id>/stream: the same streamText, fed from the gateway's replay instead of the GPU. */
async function resume(id) {
  const [answer] = await holdfast.lookup([id]);
  if (!answer) return new Response(null, { status: 204 }); // nothing to resume
  const result = streamText({ model: modelOver(holdfast.attachFetch(id)), prompt: "(not sent)" });
  return result.toUIMessageStreamResponse({ generateMessageId: () => `answer of ${id}` });
}

/** POST /api/chat/<id>/stop: what a Stop button calls. useChat's own stop() only disconnects. */
export async function stop(id) {
  return new Response(null, { status: (await holdfast.stop(id)) ? 204 : 409 });
}

// ---- The browser. useChat({ id, resume: true }) does what this does; here the requests stay in this process.

const transport = new DefaultChatTransport({
  fetch: async (path, init) =>
    init.method === "POST" ? ask(JSON.parse(init.body)) : resume(decodeURIComponent(path.split("/").at(-2))),
});

const question = { id: "question", role: "user", parts: [{ type: "text", text: prompt }] };
const page = new AbortController();
const send = { trigger: "submit-message", chatId, messages: [question], abortSignal: page.signal };
let shown = "";
for await (const message of readUIMessageStream({ stream: await transport.sendMessages(send) })) {
  shown = textOf(message);
  if (shown.length > 200) break;
}
page.abort();
console.log(`${shown} …\n\n--- the page is reloaded ---\n`);

let whole = "";
const replay = await transport.reconnectToStream({ chatId });
for await (const message of readUIMessageStream({ stream: replay })) whole = textOf(message);
console.log(whole);

function textOf({ parts }) {
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}
