/** POST on a generating route: with a conversation id into the conversation's object, without one straight through. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { encodeStart, type StartRequest } from "../conversation/messages.ts";
import { badRequest, notFound } from "../errors.ts";
import { FAMILIES, familyOf, type RouteFamily } from "../families.ts";
import {
  CONVERSATION_HEADER,
  IDEMPOTENCY_HEADER,
  MAX_IDEMPOTENCY_KEY_LENGTH,
  RETRY_COUNT_HEADER,
} from "../protocol.ts";
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
  const start: StartRequest = {
    id,
    path,
    family,
    wantsStream: wantsStream(body, family),
    idempotencyKey,
    isRetry: Number(headers.get(RETRY_COUNT_HEADER)) > 0,
    bodyHash: await sha256(body),
  };
  return await conversationStub(c, id).fetch(encodeStart(start, body));
}

/**
 * The request's `stream` field. Throws the 400 that llama-server would answer to a body that it cannot even begin to
 * read: here nothing has been touched yet, while a live session would be ended before the origin is asked.
 */
function wantsStream(body: Uint8Array, family: RouteFamily): boolean {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body));
  } catch (error) {
    throw badRequest(`The request body (${body.length} bytes) is not JSON: ${(error as Error).message}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw badRequest("The request body must be a JSON object");
  }
  const fields = json as { messages?: unknown; stream?: unknown };
  if (FAMILIES[family].needsMessages) {
    if (fields.messages === undefined) throw badRequest("'messages' is required");
    if (!Array.isArray(fields.messages)) throw badRequest("Expected 'messages' to be an array");
  }
  return fields.stream === true;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
