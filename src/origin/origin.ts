/**
 * One llama-server and the calls we make of it. Requests are built from scratch, never from the client's request: its
 * signal, its key and its other headers stay out unless named here.
 */
import type { OriginConfig } from "../config.ts";
import { ApiError } from "../errors.ts";
import { CONVERSATION_HEADER, LOOKUP_PATH, STREAM_PATH } from "../protocol.ts";

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

/** llama-server answers short questions, and the head of a replay, at once; one that takes longer is not there. */
const ANSWER_TIMEOUT_MS = 10_000;

/**
 * llama-server says keep-alive and closes after an event stream all the same; a request that is sent just then fails
 * within milliseconds, unseen by the server (1 in 1,000 measured). Within this time such a failure is worth another try,
 * as browsers do it.
 */
export const STALE_CONNECTION_MS = 1_000;
/** Several connections of the pool may have been closed at once. */
const STALE_CONNECTION_TRIES = 3;

/** A tunnel's or proxy's own answer in place of the origin's: the origin may never have seen the request, or still work on it. */
export function isTunnelStatus(status: number): boolean {
  return status === 502 || status === 504 || (status >= 520 && status <= 527) || status === 530;
}

/** What the origin knows of a session. `unsupported`: it has no replay at all. `unreachable`: no usable answer. */
export type OriginSession =
  | { readonly state: "known"; readonly totalBytes: number }
  | { readonly state: "unknown" | "unsupported" | "unreachable" };

/** What came of a stop. `unsupported`: the origin has no such route; there, closing the connection stops. */
export type StopResult = "heard" | "unsupported" | "unreachable";

/** The answer to a re-attach. `lost`: the origin is there and cannot go on from that byte. */
export type Attachment = { readonly response: Response } | "lost" | "unreachable";

export class Origin {
  readonly #config: OriginConfig;

  constructor(config: OriginConfig) {
    this.#config = config;
  }

  /**
   * The strict path: the request as the client sent it, the answer as the origin gave it. The client's leaving closes
   * the origin's connection, which is how llama-server learns to stop. Throws ApiError 502 when the origin is not there.
   */
  async forward(request: Request, body: Uint8Array | undefined): Promise<Response> {
    const url = new URL(request.url);
    const headers = this.#headers();
    for (const name of FORWARDED_REQUEST_HEADERS) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    const init: RequestInit = { method: request.method, headers, signal: request.signal };
    if (body) init.body = body;
    const response = this.#checkKey(await this.#fetchFresh(url.pathname + url.search, init));
    const answer = new Response(response.body, response);
    for (const name of DROPPED_RESPONSE_HEADERS) answer.headers.delete(name);
    return answer;
  }

  /**
   * Asks for an answer under a conversation id of our own: it goes on at the origin whatever happens to the connection;
   * only `stop` ends it. Throws what fetch throws when the connection fails before the answer's head.
   */
  async generate(path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Response> {
    const headers = this.#headers();
    headers.set("Content-Type", "application/json");
    headers.set(CONVERSATION_HEADER, originId);
    return this.#checkKey(await this.#fetch(path, { method: "POST", headers, body, signal }));
  }

  /** Goes on reading a session at byte `from` of the origin's answer. Aborting `signal` also ends the answer's body. */
  async attach(originId: string, from: number, signal: AbortSignal): Promise<Attachment> {
    const byQuery = await this.#attachTo(`${STREAM_PATH}?conv_id=${encodeURIComponent(originId)}&from=${from}`, signal);
    if (byQuery !== "lost") return byQuery;
    // Older builds take the id in the path and know no other form.
    return await this.#attachTo(`${STREAM_PATH}/${encodeURIComponent(originId)}?from=${from}`, signal);
  }

  /** Asks the origin what it knows of a session. */
  async find(originId: string): Promise<OriginSession> {
    try {
      const body = JSON.stringify({ conversation_ids: [originId] });
      return await inTime(async (signal): Promise<OriginSession> => {
        const response = await this.#fetch(LOOKUP_PATH, { method: "POST", headers: this.#headers(), body, signal });
        const text = await response.text();
        if (response.status === 404 || response.status === 405) return { state: "unsupported" };
        if (response.status !== 200) return { state: "unreachable" };
        const rows: unknown = JSON.parse(text);
        if (!Array.isArray(rows)) return { state: "unsupported" };
        const totalBytes: unknown = rows[0]?.total_bytes;
        return typeof totalBytes === "number" ? { state: "known", totalBytes } : { state: "unknown" };
      });
    } catch {
      // Refused, cut, timed out or not JSON: whoever asked tries again or gives up by its own deadline.
      return { state: "unreachable" };
    }
  }

  /** Ends the generation of that id and frees its slot. */
  async stop(originId: string): Promise<StopResult> {
    const id = encodeURIComponent(originId);
    for (const path of [`${STREAM_PATH}?conv_id=${id}`, `${STREAM_PATH}/${id}`]) {
      try {
        const status = await inTime(async (signal) => {
          const response = await this.#fetchFresh(path, { method: "DELETE", headers: this.#headers(), signal });
          await response.body?.cancel();
          return response.status;
        });
        if (status === 204) return "heard";
        if (status >= 500) return "unreachable";
      } catch {
        // Refused, cut or timed out: whoever asked tries again.
        return "unreachable";
      }
    }
    return "unsupported";
  }

  async #attachTo(path: string, signal: AbortSignal): Promise<Attachment> {
    try {
      // The time is for the head only; the body may be silent for long.
      const response = await inTime((late) =>
        this.#fetch(path, { headers: this.#headers(), signal: AbortSignal.any([signal, late]) }),
      );
      if (response.status === 200) return { response };
      await response.body?.cancel();
      // 503: the model is being loaded. What a proxy answers says nothing about the session. All else is the origin's no.
      return response.status >= 500 || response.status === 429 ? "unreachable" : "lost";
    } catch {
      return "unreachable";
    }
  }

  #headers(): Headers {
    const headers = new Headers();
    if (this.#config.apiKey !== undefined) headers.set("Authorization", `Bearer ${this.#config.apiKey}`);
    return headers;
  }

  /** A fetch that a connection which the origin has just closed does not fail. */
  async #fetchFresh(path: string, init: RequestInit): Promise<Response> {
    for (let tries = 1; ; tries++) {
      const started = Date.now();
      try {
        return await this.#fetch(path, init);
      } catch (cause) {
        const isStale = Date.now() - started < STALE_CONNECTION_MS && !init.signal?.aborted;
        if (!isStale || tries === STALE_CONNECTION_TRIES) throw originUnreachable(cause);
      }
    }
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    return fetch(this.#config.url + path, { ...init, redirect: "manual" });
  }

  /** The client's key was right, or it would not have come so far: this 401 is about ours, and is not for the client. */
  #checkKey(response: Response): Response {
    if (response.status !== 401) return response;
    throw new ApiError(502, "origin_unreachable", "The llama-server behind the gateway refuses the gateway's own key");
  }
}

/** Gives `request` a signal that is aborted when it takes too long. Leaves no timer behind: one keeps an object awake. */
async function inTime<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), ANSWER_TIMEOUT_MS);
  try {
    return await request(late.signal);
  } finally {
    clearTimeout(timer);
  }
}

export function originUnreachable(cause: unknown): ApiError {
  return new ApiError(502, "origin_unreachable", "The gateway cannot reach the llama-server behind it", { cause });
}
