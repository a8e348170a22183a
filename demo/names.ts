/**
 * Conversation ids and numbers as llama-server reads them from the wire.
 *
 * An id is a string of bytes, so that a header, a form-encoded query and JSON mean the same id when their bytes are
 * the same. Here it is a "key": one character a byte, which is how node:http hands out headers and URLs.
 */
import type { IncomingMessage } from "node:http";

/** The key of a request's `X-Conversation-Id`, empty without one. Of several headers the last counts. */
export function conversationKey(request: IncomingMessage): string {
  return request.headersDistinct["x-conversation-id"]?.at(-1)?.trim() ?? "";
}

export function keyOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

export function textOf(key: string): string {
  return Buffer.from(key, "latin1").toString();
}

/** The last value of a query field, as a key; a bad escape stays as it is. */
export function queryValue(query: string, name: string): string | undefined {
  const field = query.split("&").findLast((part) => part === name || part.startsWith(`${name}=`));
  return field === undefined ? undefined : percentDecode(field.slice(name.length + 1).replaceAll("+", " "));
}

export function percentDecode(encoded: string): string {
  return encoded.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

const MAX_UINT64 = 2n ** 64n - 1n;

/** C's strtoull: a leading number is enough, and a negative one is huge. `undefined`: not an offset. */
export function parseFrom(value: string | undefined): number | undefined {
  if (!value) return 0;
  const [, sign, digits] = value.match(/^\s*([+-]?)(\d+)/) ?? [];
  if (digits === undefined) return undefined;
  const magnitude = BigInt(digits);
  if (magnitude > MAX_UINT64) return undefined;
  return Number(sign === "-" ? BigInt.asUintN(64, -magnitude) : magnitude);
}
