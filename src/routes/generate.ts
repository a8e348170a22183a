/** POST on a generating route: with a conversation id into the conversation's object, without one straight through. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { encodeStart, type StartRequest } from "../conversation/messages.ts";
import { badRequest, notFound } from "../errors.ts";
import { FAMILIES, familyOf } from "../families.ts";
import {
  CONVERSATION_HEADER,
  IDEMPOTENCY_HEADER,
  MAX_IDEMPOTENCY_KEY_LENGTH,
  RETRY_COUNT_HEADER,
} from "../protocol.ts";
import { type JsonRange, readRequestFields } from "../request/body-fields.ts";
import { checkConversationId, conversationStub } from "./conversation-stub.ts";
import { passthrough } from "./passthrough.ts";
import { readBody } from "./request-body.ts";

export async function generate(c: Context<AppEnv>): Promise<Response> {
  const { headers } = c.req.raw;
  const id = headers.get(CONVERSATION_HEADER)?.trim();
  if (!id) return await passthrough(c);

  checkConversationId(id);
  const path = new URL(c.req.url).pathname;
  const family = familyOf(path);
  if (!family) throw notFound();
  const idempotencyKey = headers.get(IDEMPOTENCY_HEADER) ?? undefined;
  if (idempotencyKey !== undefined && idempotencyKey.length > MAX_IDEMPOTENCY_KEY_LENGTH) {
    const length = idempotencyKey.length;
    throw badRequest(`Idempotency-Key has ${length} characters; the limit is ${MAX_IDEMPOTENCY_KEY_LENGTH}`);
  }
  const body = await readBody(c.req.raw, c.get("config").maxRequestBytes);
  const fields = await readRequestFields(body);
  if (FAMILIES[family].needsMessages) checkMessages(fields.messages);
  const start: StartRequest = {
    id,
    path,
    family,
    wantsStream: fields.stream,
    model: fields.model,
    idempotencyKey,
    isRetry: Number(headers.get(RETRY_COUNT_HEADER)) > 0,
    bodyHash: await sha256(body),
  };
  return await conversationStub(c, id).fetch(encodeStart(start, body));
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
