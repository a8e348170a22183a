/** What the model is asked: the conversation so far, as a chat request. The same messages always give the same bytes. */
import type { Message } from "./store.ts";

type Content = string | ({ type: "text"; text: string } | { type: "image_url"; image_url: { url: string } })[];

interface ChatMessage {
  role: "user" | "assistant";
  content: Content;
}

/** Chat templates want an answer to follow a question. */
const ASKED_ELSEWHERE = "(This was asked on another device.)";

export function requestBody(before: readonly Message[], model: string | undefined): string {
  return JSON.stringify({ ...(model && { model }), messages: before.flatMap(chatMessages), stream: true });
}

function chatMessages(message: Message): ChatMessage[] {
  if (message.role === "user") return [{ role: "user", content: contentOf(message) }];
  if (message.text === "") return [];
  const answer: ChatMessage = { role: "assistant", content: message.text };
  return message.answer?.isElsewhere ? [{ role: "user", content: ASKED_ELSEWHERE }, answer] : [answer];
}

function contentOf({ text, images = [] }: Message): Content {
  if (images.length === 0) return text;
  return [{ type: "text", text }, ...images.map((url) => ({ type: "image_url" as const, image_url: { url } }))];
}
