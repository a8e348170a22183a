/**
 * The strict path's call of a llama-server: the request as the client sent it, the answer as the origin gave it, byte for
 * byte. The origin is not trusted with the client: of its headers only those listed go on, and it sends nobody elsewhere.
 */
import { ApiError, originUnreachable } from "../errors.ts";
import { unauthorized } from "./origin.ts";
import type { OriginConfig } from "./origins-config.ts";
import { fetchOrigin, pickHeaders } from "./transport.ts";

/** What a route and the request's body came to, in the gateway's own view. */
export interface StrictRequest {
  readonly method: string;
  /** The path that was matched, and the query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: Uint8Array | undefined;
  /** The client's leaving closes the origin's connection, which is how llama-server learns to stop. */
  readonly signal: AbortSignal;
}

/** What of the client's request headers means something to a llama-server. */
const FORWARDED_REQUEST_HEADERS = ["Accept", "Content-Type"] as const;

/**
 * What of the origin's headers means something to a client. All else is about the origin's connection, caches, cookies,
 * CORS or other hosts, or would pass for the gateway's own word.
 */
const PASSED_RESPONSE_HEADERS = [
  "Content-Type",
  // The runtime keeps it for a body that it hands on untouched; an answer to HEAD has nothing else to tell it by.
  "Content-Length",
  // Event streams: proxies in front of us are not to collect events.
  "X-Accel-Buffering",
  // 503 while the model loads, 429 of a proxy that queues.
  "Retry-After",
] as const;

/** Throws ApiError 502 when the origin is not there, or answers with something that is no answer. */
export async function forward(origin: OriginConfig, request: StrictRequest): Promise<Response> {
  const headers = pickHeaders(request.headers, FORWARDED_REQUEST_HEADERS);
  const { method, signal, body } = request;
  const response = await fetchAnswer(origin, request.path, { method, headers, signal, ...(body && { body }) });
  if (response.status === 401) throw await unauthorized(response);
  if (!isAnswer(response.status)) {
    await response.body?.cancel();
    throw notAnAnswer(response.status);
  }
  return new Response(response.body, {
    status: response.status,
    headers: pickHeaders(response.headers, PASSED_RESPONSE_HEADERS),
  });
}

/** 1xx and what no standard knows cannot be passed on; a redirect would take the client, its key and its prompt along. */
function isAnswer(status: number): boolean {
  return status >= 200 && status <= 599 && !(status >= 300 && status <= 399);
}

function notAnAnswer(status: number): ApiError {
  const what =
    status >= 300 && status <= 399 ? "a redirect, which is not followed: set the origin's URL to its end" : "no answer";
  return new ApiError(502, "origin_unreachable", `The llama-server behind the gateway answered ${status}: ${what}`);
}

async function fetchAnswer(
  origin: OriginConfig,
  path: string,
  init: RequestInit & { headers: Headers },
): Promise<Response> {
  const startedAt = Date.now();
  try {
    return await fetchOrigin(origin, path, init);
  } catch (cause) {
    throw notReached(cause, init, startedAt);
  }
}

/** One line for the owner: the runtime tells refused, reset and slow apart in its message, and by the time it took. */
function notReached(cause: unknown, init: RequestInit, startedAt: number): ApiError {
  if (!init.signal?.aborted) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    console.error(`origin unreachable: ${init.method} failed after ${Date.now() - startedAt} ms: ${reason}`);
  }
  return originUnreachable(cause);
}
