/**
 * Errors that a client is told about, in llama-server's shape. Here as an HTTP answer; as the last event of a stream whose
 * 200 is already on the wire see families.ts.
 */
import type { FailureCode } from "./protocol.ts";
import { JSON_TYPE, SHOULD_RETRY_HEADER } from "./protocol.ts";

/** The `type` of an error. llama-server's own where it has one for the case. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "not_found_error"
  | "feature_disabled"
  | "unavailable_error"
  | "server_error"
  | "payload_too_large"
  | "permission_error"
  | "rate_limit_exceeded"
  | "origin_unreachable"
  | "conversation_replaced"
  | "conversation_stopped"
  | FailureCode;

/** What went wrong, as `{"error":{…}}` on the wire. `code` is an HTTP status even inside a stream. */
export interface ErrorBody {
  code: number;
  message: string;
  type: ErrorType;
}

/** A failure with an answer for the client: thrown anywhere, turned into a response once, in app.ts. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly type: ErrorType;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    type: ErrorType,
    message: string,
    options?: { cause?: unknown; retryAfterSeconds?: number },
  ) {
    super(message, options);
    this.status = status;
    this.type = type;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }

  get body(): ErrorBody {
    return { code: this.status, message: this.message, type: this.type };
  }
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "invalid_request_error", message);
}

/** llama-server's words for a key that is missing or wrong. */
export const INVALID_KEY_MESSAGE = "Invalid API Key";

/** llama-server answers every 404 with the same words. */
export function notFound(message = "File Not Found"): ApiError {
  return new ApiError(404, "not_found_error", message);
}

/** Something of ours failed: the log has what, the client only that. */
export function internalError(error: unknown): ApiError {
  console.error(error);
  return new ApiError(500, "server_error", "Internal error; see the gateway's log");
}

export function originUnreachable(cause: unknown): ApiError {
  return new ApiError(502, "origin_unreachable", "The gateway cannot reach the llama-server behind it", { cause });
}

export function modelNotFound(model: string | undefined): ApiError {
  return badRequest(`model '${model}' not found`);
}

/** llama-server's words, which the client knows this answer by. */
export function offsetLost(): ApiError {
  return badRequest("Stream offset lost, please restart");
}

/** A GET finds nothing: nothing is said of whether there ever was something. */
export function unknownSession(): ApiError {
  return notFound("No session of this conversation: it is unknown, expired or stopped");
}

/** What is said of a session, or a request, that a newer request replaced. */
export const REPLACED: ErrorBody = {
  code: 409,
  message: "A newer request took this conversation over",
  type: "conversation_replaced",
};

/** The request names a session, and the conversation has another one. */
export function fenced(named: string, current: string): ApiError {
  const message = `Session ${named} is over: the conversation's session is ${current}`;
  return new ApiError(409, "conversation_replaced", message);
}

/** What the official SDKs wait at most. */
const LONGEST_RETRY_SECONDS = 60;

export function errorResponse(error: ApiError): Response {
  const headers = new Headers({ "Content-Type": JSON_TYPE });
  if (error.retryAfterSeconds !== undefined) headers.set("Retry-After", String(error.retryAfterSeconds));
  // OpenAI's and Anthropic's SDKs retry a 409 and any 5xx by themselves: that would undo the user's stop or the newer
  // request, or start for a second time what had already taken too long.
  const isFinal = error.status === 409 || error.type === "too_long";
  // A wait that is longer they ignore, and come back within seconds.
  const isLong = (error.retryAfterSeconds ?? 0) > LONGEST_RETRY_SECONDS;
  if (isFinal || isLong) headers.set(SHOULD_RETRY_HEADER, "false");
  return new Response(JSON.stringify({ error: error.body }), { status: error.status, headers });
}
