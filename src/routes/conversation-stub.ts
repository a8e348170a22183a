/** From a conversation id to its Durable Object. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import type { Conversation } from "../conversation/conversation.ts";
import { badRequest } from "../errors.ts";
import { conversationOf, MAX_CONVERSATION_ID_BYTES } from "../protocol.ts";

/** The object of the tenant's conversation: another tenant's id leads to another object, an empty one. */
export function conversationStub(c: Context<AppEnv>, id: string): DurableObjectStub<Conversation> {
  return c.env.CONVERSATION.getByName(`${c.get("tenant")}/${conversationOf(id)}`);
}

/**
 * Asks the object something that does no harm twice. An object that was just replaced, by a deploy or a crash, fails the
 * question that finds it so; the next one finds its successor.
 */
export async function askConversation<T>(
  c: Context<AppEnv>,
  id: string,
  ask: (stub: DurableObjectStub<Conversation>) => Promise<T>,
): Promise<T> {
  try {
    return await ask(conversationStub(c, id));
  } catch (error) {
    const { durableObjectReset, retryable } = error as { durableObjectReset?: boolean; retryable?: boolean };
    if (!durableObjectReset && !retryable) throw error;
    return await ask(conversationStub(c, id));
  }
}

/** Nearly every id, told at once: a lookup may have 10,000 of them. */
const PLAIN_ID = new RegExp(`^[ -~]{1,${MAX_CONVERSATION_ID_BYTES}}$`);

/** Why this cannot be the id of any conversation, or `undefined`. */
function idProblem(id: string): string | undefined {
  if (PLAIN_ID.test(id)) return undefined;
  const bytes = new TextEncoder().encode(id).length;
  if (bytes > MAX_CONVERSATION_ID_BYTES) {
    return `The conversation id has ${bytes} bytes; the limit is ${MAX_CONVERSATION_ID_BYTES}`;
  }
  const control = Array.from(id).findIndex(isControlCharacter);
  if (control >= 0) return `The conversation id has a control character at position ${control}`;
  // What a decoder puts in place of bytes that are not UTF-8: different ids would become one.
  if (id.includes("\ufffd")) return "The conversation id is not valid UTF-8";
  return undefined;
}

/** A tab is what a header value may hold; the other control characters are what no llama-server takes. */
function isControlCharacter(character: string): boolean {
  return (character < " " && character !== "\t") || character === "\x7f";
}

export function checkConversationId(id: string): void {
  const problem = idProblem(id);
  if (problem) throw badRequest(problem);
}

export function isConversationId(id: unknown): id is string {
  return typeof id === "string" && id !== "" && idProblem(id) === undefined;
}
