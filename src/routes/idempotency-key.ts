/** A request's Idempotency-Key: at most MAX_IDEMPOTENCY_KEY_LENGTH characters. */
import { badRequest } from "../errors.ts";
import { IDEMPOTENCY_HEADER, MAX_IDEMPOTENCY_KEY_LENGTH } from "../protocol.ts";

/** An empty key is none: clients send one for a setting that is not set. */
export function idempotencyKeyOf(headers: Headers): string | undefined {
  const key = headers.get(IDEMPOTENCY_HEADER) ?? "";
  if (key.length > MAX_IDEMPOTENCY_KEY_LENGTH) {
    throw badRequest(`Idempotency-Key has ${key.length} characters; the limit is ${MAX_IDEMPOTENCY_KEY_LENGTH}`);
  }
  return key || undefined;
}
