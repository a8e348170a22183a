/**
 * One llama-server and the calls that a conversation makes of it. Requests are built from scratch, never from the
 * client's request: its signal, its key and its other headers stay out unless named here.
 *
 * What stands between us and the server (a tunnel, an ingress, a captive portal) may answer in its place. Only what has
 * llama-server's own shape counts as its word; all else says that it was not reached.
 */
import { ApiError, originUnreachable } from "../errors.ts";
import { CONVERSATION_HEADER, EVENT_STREAM, LOOKUP_PATH, STREAM_PATH } from "../protocol.ts";
import { isOwnError, readAtMost } from "./origin-answer.ts";
import type { OriginConfig } from "./origins-config.ts";
import { fetchOrigin } from "./transport.ts";

/** llama-server answers short questions, and the head of a replay, at once; one that takes longer is not there. */
const ANSWER_TIMEOUT_MS = 10_000;
/** A lookup of one id is one row; llama-server's error answers are under a kilobyte, and go to the client verbatim. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * llama-server says keep-alive and closes after an event stream all the same; a request that is sent just then fails
 * within milliseconds, unseen by the server (1 in 1,000 measured).
 */
export const STALE_CONNECTION_MS = 1_000;

/** What the origin knows of a session. `unsupported`: it has no replay at all. `unreachable`: no usable answer. */
export type OriginSession =
  | { readonly state: "known"; readonly totalBytes: number }
  | { readonly state: "unknown" | "unsupported" | "unreachable" };

/** What came of a stop. `unsupported`: the origin has no such route; there, closing the connection stops. */
export type StopResult = "acknowledged" | "unsupported" | "unreachable";

/**
 * The answer to a re-attach. `unknown`: the origin has no such session. `lost`: it has, but no longer from that byte on.
 * `loading`: it has, and cannot go on yet.
 */
export type Attachment = { readonly response: Response } | "unknown" | "lost" | "loading" | "unreachable";

/** The answer to a request. */
export type Opening =
  /** The head of the answer. */
  | { readonly opened: Response }
  /** The origin's own error answer, or one that needs the owner: the request is over. */
  | {
      readonly refused: { status: number; contentType: string; body: Uint8Array } | ApiError;
      readonly isUntaken: boolean;
    }
  /** The origin's answer did not reach us; the origin may have the request, unless it `isUntaken`. */
  | { readonly noAnswer: ApiError; readonly isUntaken: boolean };

/** By status, where the origin itself refuses to go on. */
const ATTACH_REFUSALS: Readonly<Record<number, "unknown" | "lost" | "loading">> = {
  400: "lost",
  404: "unknown",
  503: "loading",
};

/** What a conversation asks of its origin. */
export type OriginCalls = Pick<Origin, "generate" | "attach" | "find" | "stop">;

export class Origin {
  readonly #config: OriginConfig;

  constructor(config: OriginConfig) {
    this.#config = config;
  }

  /**
   * Asks for an answer under a conversation id of our own: it goes on at the origin whatever happens to the connection;
   * only `stop` ends it. Never throws.
   */
  async generate(path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Opening> {
    const headers = new Headers({ "Content-Type": "application/json" });
    headers.set(CONVERSATION_HEADER, originId);
    try {
      const response = await this.#fetch(path, { method: "POST", headers, body, signal });
      const isAnswer = response.status === 200 && /^(text\/event-stream|application\/json)\b/.test(typeOf(response));
      return isAnswer ? { opened: response } : await notOpened(response);
    } catch (cause) {
      // The runtime says the same of a connection that was refused and of one that broke later.
      return { noAnswer: originUnreachable(cause), isUntaken: false };
    }
  }

  /** Goes on reading a session at byte `from` of the origin's answer. Aborting `signal` also ends the answer's body. */
  async attach(originId: string, from: number, signal: AbortSignal): Promise<Attachment> {
    const byQuery = await this.#attachTo(`${STREAM_PATH}?conv_id=${encodeURIComponent(originId)}&from=${from}`, signal);
    if (byQuery !== "unknown") return byQuery;
    // Older builds take the id in the path and know no other form.
    return await this.#attachTo(`${STREAM_PATH}/${encodeURIComponent(originId)}?from=${from}`, signal);
  }

  /** Asks the origin what it knows of a session. */
  async find(originId: string): Promise<OriginSession> {
    try {
      const body = JSON.stringify({ conversation_ids: [originId] });
      const found = await inTime(async (signal): Promise<OriginSession> => {
        const response = await this.#fetch(LOOKUP_PATH, { method: "POST", body, signal });
        const text = new TextDecoder().decode(await readAtMost(response, MAX_ANSWER_BYTES));
        if (response.status === 200) return sessionIn(text);
        const hasNoLookup = (response.status === 404 || response.status === 405) && isOwnError(response.headers, text);
        return { state: hasNoLookup ? "unsupported" : "unreachable" };
      });
      return found.state === "unknown" ? await this.#confirmUnknown(originId) : found;
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
        const isDenied = await inTime(async (signal) => {
          const response = await this.#fetchTwice(path, { method: "DELETE", signal });
          const text = new TextDecoder().decode(await readAtMost(response, MAX_ANSWER_BYTES));
          // Not 200: an ingress's page has that too, and the generation would go on for nobody.
          if (response.status === 204) return false;
          if (response.status === 404 && isOwnError(response.headers, text)) return true;
          throw new Error(`Status ${response.status}`);
        });
        if (!isDenied) return "acknowledged";
      } catch {
        // Refused, cut, timed out, or answered by something else: whoever asked tries again.
        return "unreachable";
      }
    }
    return "unsupported";
  }

  /** A router lists nothing while the session's model loads, and then says so where the session is read. */
  async #confirmUnknown(originId: string): Promise<OriginSession> {
    const attachment = await inTime((signal) => this.attach(originId, 0, signal));
    if (attachment === "unknown" || attachment === "unreachable") return { state: attachment };
    if (typeof attachment !== "string") await attachment.response.body?.cancel();
    return { state: "known", totalBytes: 0 };
  }

  async #attachTo(path: string, signal: AbortSignal): Promise<Attachment> {
    try {
      // The time is for the head only; the body may be silent for long.
      const response = await inTime((late) => this.#fetch(path, { signal: AbortSignal.any([signal, late]) }));
      if (response.status === 200 && typeOf(response).startsWith(EVENT_STREAM)) {
        return { response };
      }
      const text = new TextDecoder().decode(await readAtMost(response, MAX_ANSWER_BYTES));
      if (!isOwnError(response.headers, text)) return "unreachable";
      return ATTACH_REFUSALS[response.status] ?? "unreachable";
    } catch {
      return "unreachable";
    }
  }

  /** For idempotent requests: llama-server may just have closed the connection that the pool gave us. */
  async #fetchTwice(path: string, init: RequestInit & { headers?: Headers }): Promise<Response> {
    const started = Date.now();
    try {
      return await this.#fetch(path, init);
    } catch (cause) {
      if (Date.now() - started > STALE_CONNECTION_MS || init.signal?.aborted) throw cause;
      return await this.#fetch(path, init);
    }
  }

  #fetch(path: string, init: RequestInit & { headers?: Headers }): Promise<Response> {
    return fetchOrigin(this.#config, path, { headers: new Headers(), ...init });
  }
}

function typeOf(response: Response): string {
  return response.headers.get("Content-Type") ?? "";
}

/**
 * Whether a status says that the request never came to the origin: Cloudflare's for an origin that refuses the connection
 * (521), does not acknowledge it (522), has no route (523), no TLS (525, 526) or no tunnel (530). Not 502, 504, 520 or 524:
 * they are also what a request gets that the origin has.
 */
export function isUntaken(status: number): boolean {
  return [521, 522, 523, 525, 526, 530].includes(status);
}

/**
 * What a 401 comes to; reads the answer. The client's key was right, or it would not have come so far: this one is about the
 * gateway's, or about who may pass an ingress, and is not for the client.
 */
export async function unauthorized(response: Response): Promise<ApiError> {
  return (await ownError(response)) ? keyRejected() : answeredInItsPlace(response);
}

/** The body of an error in the origin's own shape; `undefined`: something answered in its place. */
async function ownError(response: Response): Promise<Uint8Array | undefined> {
  const body = await readAtMost(response, MAX_ANSWER_BYTES);
  return isOwnError(response.headers, new TextDecoder().decode(body)) ? body : undefined;
}

function answeredInItsPlace(response: Response): ApiError {
  const what = `${response.status} (${typeOf(response) || "no type"})`;
  const message = `Something in front of the llama-server answered ${what} in its place`;
  return new ApiError(502, "origin_unreachable", message);
}

/** An answer to a request that is no answer of the model. */
async function notOpened(response: Response): Promise<Opening> {
  const { status } = response;
  const body = await ownError(response);
  if (body) {
    if (status === 401) return { refused: keyRejected(), isUntaken: true };
    // A llama-server that loads its model takes no request.
    return { refused: { status, contentType: typeOf(response), body }, isUntaken: status === 503 };
  }
  const error = answeredInItsPlace(response);
  // Turned away before the server, or sent elsewhere: nothing there has the request. Any other may be a tunnel's timeout.
  if (status < 500) return { refused: error, isUntaken: true };
  return { noAnswer: error, isUntaken: isUntaken(status) };
}

/** The row of a lookup answer. */
function sessionIn(text: string): OriginSession {
  const rows: unknown = JSON.parse(text);
  if (!Array.isArray(rows)) return { state: "unsupported" };
  const totalBytes: unknown = rows[0]?.total_bytes;
  return typeof totalBytes === "number" ? { state: "known", totalBytes } : { state: "unknown" };
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

function keyRejected(): ApiError {
  const message =
    "The llama-server behind the gateway rejected the gateway's key (set --origin-key or ORIGIN_API_KEY to its --api-key)";
  return new ApiError(502, "origin_unreachable", message);
}
