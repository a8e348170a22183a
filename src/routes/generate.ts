/** POST on a generating route: with a conversation id into the conversation's object, without one straight through. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { encodeStart } from "../conversation/messages.ts";
import { badRequest, notFound } from "../errors.ts";
import { familyOf, NEEDS_MESSAGES } from "../families.ts";
import { CONVERSATION_HEADER, conversationOf, RETRY_COUNT_HEADER } from "../protocol.ts";
import { type JsonRange, readRequestFields } from "../request/body-fields.ts";
import type { Admission } from "../tenant/admission.ts";
import { admit, withHeaders } from "./admit.ts";
import { checkConversationId } from "./conversation-id.ts";
import { conversationStub } from "./conversation-stub.ts";
import { idempotencyKeyOf } from "./idempotency-key.ts";
import { answerStrictly } from "./strict.ts";
import { withBody } from "./with-body.ts";

/** The handler of this route at the origin. */
export function generate(path: string): (c: Context<AppEnv>) => Promise<Response> {
  return async (c) => {
    const id = c.req.raw.headers.get(CONVERSATION_HEADER)?.trim();
    if (id) checkConversationId(id);
    const admission = admit(c, id ? conversationOf(id) : undefined);
    try {
      return await (id ? start(c, path, id, admission) : answerStrictly(c, path, admission));
    } finally {
      // Does nothing where the slot is another's by now.
      admission.giveBack();
    }
  };
}

async function start(c: Context<AppEnv>, path: string, id: string, admission: Admission): Promise<Response> {
  const { headers } = c.req.raw;
  const family = familyOf(path);
  if (!family) throw notFound();
  const idempotencyKey = idempotencyKeyOf(headers);
  return await withBody(c, async (body) => {
    const { messages, stream, model } = await readRequestFields(body);
    if (NEEDS_MESSAGES.has(family)) checkMessages(messages);
    const isRetry = Number(headers.get(RETRY_COUNT_HEADER)) > 0;
    const bodyHash = await sha256(body);
    const { key, ticket, limitHeaders } = await admission.granted(body.length, model);
    const request = { id, path, family, wantsStream: stream, model, idempotencyKey, isRetry, bodyHash, key, ticket };
    admission.handOver();
    return withHeaders(await conversationStub(c, id).fetch(encodeStart(request, body)), limitHeaders);
  });
}

/**
 * Refuses what llama-server would refuse before it begins: here nothing has been touched yet, while a live session would
 * be ended before the origin is asked.
 */
function checkMessages(messages: JsonRange | undefined): void {
  if (!messages) throw badRequest("'messages' is required");
  if (messages.kind !== "array") throw badRequest("Expected 'messages' to be an array");
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
