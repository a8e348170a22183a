/**
 * One llama-server and the calls we make of it. Requests are built from scratch, never from the client's request: its
 * signal, its key and its other headers stay out unless named here.
 */
import type { OriginConfig } from "../config.ts";
import { ApiError } from "../errors.ts";
import { CONVERSATION_HEADER, STREAM_PATH } from "../protocol.ts";

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

/** A stop is a short question; an origin that does not answer it within this time is not going to. */
const STOP_TIMEOUT_MS = 5_000;

export class Origin {
  readonly #config: OriginConfig;

  constructor(config: OriginConfig) {
    this.#config = config;
  }

  /**
   * The strict path: the request as the client sent it, the answer as the origin gave it. `signal` is the client's
   * leaving: it closes the origin's connection, which is how llama-server learns to stop.
   */
  async forward(request: Request, body: ReadableStream<Uint8Array> | null): Promise<Response> {
    const url = new URL(request.url);
    const headers = this.#headers();
    for (const name of FORWARDED_REQUEST_HEADERS) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    const response = await this.#fetch(url.pathname + url.search, {
      method: request.method,
      headers,
      body,
      signal: request.signal,
    });
    const answer = new Response(response.body, response);
    for (const name of DROPPED_RESPONSE_HEADERS) answer.headers.delete(name);
    return answer;
  }

  /**
   * Asks for an answer under a conversation id of our own. It goes on at the origin whatever happens to the
   * connection: only `stop` ends it.
   */
  generate(path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Response> {
    const headers = this.#headers();
    headers.set("Content-Type", "application/json");
    headers.set(CONVERSATION_HEADER, originId);
    return this.#fetch(path, { method: "POST", headers, body, signal });
  }

  /** Ends the generation of that id and frees its slot. Whether the origin heard it is the answer. */
  async stop(originId: string): Promise<boolean> {
    const url = `${STREAM_PATH}?conv_id=${encodeURIComponent(originId)}`;
    const init = { method: "DELETE", headers: this.#headers(), signal: AbortSignal.timeout(STOP_TIMEOUT_MS) };
    try {
      const response = await this.#fetch(url, init);
      await response.body?.cancel();
      return response.status === 204;
    } catch {
      // The origin is not there: nothing of ours runs on it either, or its TTL ends it.
      return false;
    }
  }

  #headers(): Headers {
    const headers = new Headers();
    if (this.#config.apiKey !== undefined) headers.set("Authorization", `Bearer ${this.#config.apiKey}`);
    return headers;
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.#config.url + path, { ...init, redirect: "manual" });
    } catch (cause) {
      throw new ApiError(502, "origin_unreachable", "The gateway cannot reach the llama-server behind it", { cause });
    }
  }
}
