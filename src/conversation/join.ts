/** Whether a POST is a retry of the request whose answer is being made. Pure. */
import { ApiError, REPLACED } from "../errors.ts";
import type { StartRequest } from "./messages.ts";
import type { Replaced, SessionRecord } from "./session/session-record.ts";
import { endOf } from "./session/session-state.ts";

/** How many replaced requests a conversation remembers, for the TTL of an answer: a late retry of one begins nothing. */
const MAX_REPLACED = 256;

/**
 * `join`: the client gets the current session from its first byte, and the GPU does not work twice. `begin`: it is a new
 * request. An error: neither.
 */
export function joins(start: StartRequest, current: SessionRecord | undefined): "join" | "begin" | ApiError {
  if (!current) return "begin";
  const hasSameRoute = current.id === start.id && current.path === start.path;
  const hasSameKey = start.idempotencyKey !== undefined && start.idempotencyKey === current.idempotencyKey;
  const isCurrent = hasSameRoute && isRetryOf(start, current);
  // Whatever the newer request's model or route: they are one conversation.
  if (!isCurrent && current.replaced.some((replaced) => isRetryOf(start, replaced))) {
    return new ApiError(REPLACED.code, REPLACED.type, REPLACED.message);
  }
  if (!hasSameRoute) return "begin";
  if (hasSameKey && start.bodyHash !== current.bodyHash) {
    return new ApiError(422, "invalid_request_error", "This Idempotency-Key was used with another request body");
  }
  if (!isCurrent) return "begin";
  const end = endOf(current.state);
  return end === null || end === "done" ? "join" : "begin";
}

/**
 * Where both have a key, it decides. The SDK's count alone does not tell a retry after a broken connection from one after
 * a refusal: a question asked again word for word, refused once by a limit, has a count above 0 as well.
 */
function isRetryOf(
  start: StartRequest,
  { bodyHash, idempotencyKey }: Pick<Replaced, "bodyHash" | "idempotencyKey">,
): boolean {
  if (start.bodyHash !== bodyHash) return false;
  const bothHaveKeys = start.idempotencyKey !== undefined && idempotencyKey !== undefined;
  return bothHaveKeys ? start.idempotencyKey === idempotencyKey : start.isRetry;
}

/** `length`: of its log, with the event that told its readers. `at`: Unix milliseconds. */
export function asReplaced({ bodyHash, idempotencyKey }: SessionRecord, length: number, at: number): Replaced {
  return { bodyHash, idempotencyKey, length, at };
}

/** What a new session remembers: the replaced ones that `before` remembered, and `before` itself if it was `replaced` now. */
export function remember(before: readonly Replaced[], replaced: Replaced | undefined, oldestAt: number): Replaced[] {
  const all = replaced ? [...before, replaced] : before;
  return all.filter(({ at }) => at >= oldestAt).slice(-MAX_REPLACED);
}

/**
 * Whether a client without a fence that asks from this byte has bytes of a session that was replaced: a reader that was
 * told of the replacement comes back at exactly that session's length. A reader of the new session stands at that very byte
 * by chance only: one of an answer's some thousand bytes, in one of its breaks.
 */
export function isReplacedAt(record: SessionRecord, from: number): boolean {
  return from > 0 && record.replaced.some(({ length }) => length === from);
}
