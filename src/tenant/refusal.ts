/** What a limit of the owner's says to a client: llama-server's error shape, and when trying again makes sense. */
import { ApiError, type ErrorType } from "../errors.ts";
import { RATE_LIMIT_HEADERS } from "../protocol.ts";
import { matchesGlob } from "./limits.ts";
import type { BodyLimits, Refusal, RequestsLeft } from "./messages.ts";

const TYPES: Readonly<Record<Refusal["status"], ErrorType>> = {
  401: "authentication_error",
  403: "permission_error",
  413: "payload_too_large",
  429: "rate_limit_exceeded",
};

export function refused({ status, message, retryAfter }: Refusal): ApiError {
  return new ApiError(
    status,
    TYPES[status],
    message,
    retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter },
  );
}

/** What the limits say of a body, once it is known; `undefined`: nothing. */
export function bodyRefusal(
  limits: readonly BodyLimits[],
  bytes: number,
  model: string | undefined,
): Refusal | undefined {
  for (const { who, body, models } of limits) {
    if (body !== undefined && bytes > body) {
      return { status: 413, message: `The request body is ${bytes} bytes; the limit of ${who} is ${body}` };
    }
    if (!models || (model !== undefined && matchesGlob(models, model))) continue;
    const named =
      model === undefined ? "The request names no model" : `The model "${model.slice(0, 100)}" is not allowed`;
    return { status: 403, message: `${named}; ${who} may use ${models.join(", ")}` };
  }
  return undefined;
}

/** OpenAI's names and its form of a duration. */
export function rateLimitHeaders({ limit, remaining, resetMs }: RequestsLeft): Record<string, string> {
  const ms = Math.max(0, Math.ceil(resetMs));
  return {
    [RATE_LIMIT_HEADERS.limit]: String(limit),
    [RATE_LIMIT_HEADERS.remaining]: String(remaining),
    [RATE_LIMIT_HEADERS.reset]: ms < 1_000 ? `${ms}ms` : `${Math.ceil(ms / 1_000)}s`,
  };
}
