/**
 * The POST: what it is known by, and one try to get the gateway's first word on it.
 *
 * It is safe to send again, because it carries an `Idempotency-Key`: the gateway gives the second POST the answer that the
 * first one started.
 */
import { IDEMPOTENCY_HEADER, RETRY_COUNT_HEADER } from "../protocol.ts";
import type { Asked } from "./asked.ts";
import { credentialsIn, type Gateway, setConversation } from "./gateway.ts";
import { HoldfastError } from "./holdfast-error.ts";
import type { Memory } from "./memory.ts";
import type { Repeatable } from "./requests.ts";

/**
 * The request as the gateway will know it, new or asked before: by an SDK that tries again on its own, or by a page that
 * was reloaded since.
 */
export async function recall({ init: { headers, body } }: Repeatable, id: string, memory: Memory): Promise<Asked> {
  const before = memory.get(id);
  const isRetry = Number(headers.get(RETRY_COUNT_HEADER)) > 0 && before?.body === body;
  const given = headers.get(IDEMPOTENCY_HEADER) ?? (isRetry ? before?.key : undefined);
  const stored = given || before ? undefined : (await memory.stored(id)).key;
  const key = given ?? stored ?? newKey();
  const asked: Asked = { id, credentials: credentialsIn(headers), body, key, isKeyStored: key === stored };
  await memory.remember(asked);
  return asked;
}

/** One try to get the stream of the answer. A refusal is thrown, as everywhere. */
export async function firstAnswer(
  gateway: Gateway,
  request: Repeatable,
  asked: Asked,
  signal: AbortSignal,
): Promise<Response> {
  if (asked.isStopped) throw new HoldfastError("conversation_stopped", "Stopped");
  const { headers } = request.init;
  setConversation(headers, asked.id);
  headers.set(IDEMPOTENCY_HEADER, asked.key ?? "");
  // The key says it better: a retry by its count joins any finished answer to the same words.
  headers.delete(RETRY_COUNT_HEADER);
  try {
    return await gateway.open(asked, request.url, { ...request.init, signal }, true);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.status !== 422 || !asked.isKeyStored) throw error;
    // The page before the reload had asked something else.
    asked.key = newKey();
    asked.isKeyStored = false;
    return await firstAnswer(gateway, request, asked, signal);
  }
}

/** Unique within its conversation is enough; `crypto.randomUUID` is missing on pages without TLS. */
function newKey(): string {
  return `${Date.now()}-${Math.random()}`;
}
