/** From a conversation id to its Durable Object. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import type { Conversation } from "../conversation/conversation.ts";
import { conversationOf } from "../protocol.ts";
import { askAgainIfReplaced } from "../storage/object-replaced.ts";

/** The object of the tenant's conversation: another tenant's id leads to another object, an empty one. */
export function conversationStub(c: Context<AppEnv>, id: string): DurableObjectStub<Conversation> {
  return c.env.CONVERSATION.getByName(`${c.get("tenant")}/${conversationOf(id)}`);
}

/** Asks the object something that does no harm twice. */
export async function askConversation<T>(
  c: Context<AppEnv>,
  id: string,
  ask: (stub: DurableObjectStub<Conversation>) => Promise<T>,
): Promise<T> {
  return await askAgainIfReplaced(() => ask(conversationStub(c, id)));
}
