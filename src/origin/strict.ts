/** The strict path's call of a llama-server: the request as the client sent it, the answer as the origin gave it. */
import type { OriginConfig } from "../config.ts";
import { ApiError } from "../errors.ts";
import { originUnreachable, STALE_CONNECTION_MS } from "./origin.ts";

/** What of the client's request headers means something to a llama-server. */
const FORWARDED_REQUEST_HEADERS = ["Accept", "Content-Type"] as const;

/** Say something about one connection, or about the origin's own idea of CORS and of our key: not for the client. */
const DROPPED_RESPONSE_HEADERS = [
  "Access-Control-Allow-Credentials",
  "Access-Control-Allow-Headers",
  "Access-Control-Allow-Methods",
  "Access-Control-Allow-Origin",
  "Access-Control-Expose-Headers",
  "Connection",
  "Keep-Alive",
  "Server",
  "Set-Cookie",
  "Transfer-Encoding",
] as const;

/** Several connections of the pool may have been closed at once. */
const STALE_CONNECTION_TRIES = 3;

/**
 * The client's leaving closes the origin's connection, which is how llama-server learns to stop. Throws ApiError 502 when
 * the origin is not there.
 */
export async function forward(origin: OriginConfig, request: Request, body: Uint8Array | undefined): Promise<Response> {
  const url = new URL(request.url);
  const headers = new Headers();
  if (origin.apiKey !== undefined) headers.set("Authorization", `Bearer ${origin.apiKey}`);
  for (const name of FORWARDED_REQUEST_HEADERS) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const init: RequestInit = { method: request.method, headers, signal: request.signal, redirect: "manual" };
  if (body) init.body = body;
  const response = await fetchFresh(origin.url + url.pathname + url.search, init);
  if (response.status === 401) {
    throw new ApiError(502, "origin_unreachable", "The llama-server behind the gateway refuses the gateway's own key");
  }
  const answer = new Response(response.body, response);
  for (const name of DROPPED_RESPONSE_HEADERS) answer.headers.delete(name);
  return answer;
}

/** A fetch that a connection which the origin has just closed does not fail. */
async function fetchFresh(url: string, init: RequestInit): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const started = Date.now();
    try {
      return await fetch(url, init);
    } catch (cause) {
      const isStale = Date.now() - started < STALE_CONNECTION_MS && !init.signal?.aborted;
      if (!isStale || tries === STALE_CONNECTION_TRIES) throw originUnreachable(cause);
    }
  }
}
