/**
 * Every name on the wire: paths, headers, offsets, the lookup row, limits. Pure, so that the Worker, the Durable
 * Object and a client in an app can all import it.
 */

/** Header of a generating POST that makes its answer resumable. The value is the id, as raw UTF-8, never decoded. */
export const CONVERSATION_HEADER = "X-Conversation-Id";
/** On every stream answer: which session of the conversation these bytes belong to. Echo it as `session=` to fence. */
export const SESSION_HEADER = "Holdfast-Session";
/** Which origin answers; before its name, separated by commas, those that were asked first and did not take the request. */
export const ORIGIN_HEADER = "Holdfast-Origin";
/** Same key, same conversation: the POST joins the session that the first one started. */
export const IDEMPOTENCY_HEADER = "Idempotency-Key";
/** Set by the official OpenAI and Anthropic SDKs; above 0 the request is a retry the app did not ask for. */
export const RETRY_COUNT_HEADER = "X-Stainless-Retry-Count";

/** Tells the same SDKs whether an error is worth a retry. */
export const SHOULD_RETRY_HEADER = "X-Should-Retry";

/** The comment that ends a stopped answer: no client takes it for text or for an error. */
export const STOPPED_COMMENT = "holdfast end=stopped";

/** OpenAI's: a limit of requests per minute, what is left of it, and when all of it is there again. */
export const RATE_LIMIT_HEADERS = {
  limit: "x-ratelimit-limit-requests",
  remaining: "x-ratelimit-remaining-requests",
  reset: "x-ratelimit-reset-requests",
} as const;

export const EVENT_STREAM = "text/event-stream";
export const JSON_TYPE = "application/json; charset=utf-8";

/** llama-server takes header lines of 8 KiB; a Durable Object's name may hold 1,024 bytes, tenant included. */
export const MAX_CONVERSATION_ID_BYTES = 512;
/** llama.cpp's web UI asks about every chat that it has, in one request, and shows none as running when that fails. */
export const MAX_LOOKUP_IDS = 10_000;
/** As Stripe's and the IETF draft's practice: longer than any UUID or hash. */
export const MAX_IDEMPOTENCY_KEY_LENGTH = 255;

export const STREAM_PATH = "/v1/stream";
export const LOOKUP_PATH = "/v1/streams/lookup";
export const USAGE_PATH = "/v1/usage";
export const ADMIN_PATH = "/v1/admin";

/** The endings of an answer that was not completed. */
export const FAILURE_CODES = ["origin_lost", "origin_truncated", "origin_timeout", "interrupted", "too_long"] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** How a session ended. `done` is the only success. */
export type SessionEnd = "done" | "stopped" | "replaced" | "refused" | FailureCode;

/** One session in a lookup answer: llama-server's fields, then ours. Times are whole Unix seconds. */
export interface LookupRow {
  conversation_id: string;
  is_done: boolean;
  /** Bytes ever written to the session's log, dropped ones too. */
  total_bytes: number;
  started_at: number;
  /** 0 while the session is live. */
  completed_at: number;
  session: string;
  /** `null` while the session is live. */
  end: SessionEnd | null;
  /** The first replayable offset: older bytes were dropped to keep the retained size. */
  dropped_bytes: number;
  /** How often the gateway had to connect to the origin again for this session. */
  reattached: number;
  /** The name of the origin that has the request; `null` before one is chosen. */
  origin: string | null;
}

const U64_MAX = 0xffff_ffff_ffff_ffffn;

/**
 * The `from` parameter as llama-server reads it (C's strtoull): leading blanks, a sign, digits, anything after them
 * ignored; a negative number wraps around to a huge one. Returns bytes, or `undefined` when there is no number in it
 * or it does not fit 64 bits. Offsets that JavaScript cannot hold are as good as the largest that it can.
 */
export function parseOffset(raw: string | null): number | undefined {
  if (raw === null || raw === "") return 0;
  const match = /^[ \t\n\v\f\r]*([+-]?)([0-9]+)/.exec(raw);
  if (!match?.[2]) return undefined;
  const magnitude = BigInt(match[2]);
  if (magnitude > U64_MAX) return undefined;
  const value = match[1] === "-" ? BigInt.asUintN(64, -magnitude) : magnitude;
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

/**
 * The conversation that an id belongs to: `<id>::<model>` is how llama.cpp's web UI and router name a session of
 * conversation `<id>`, so that whatever the model, a conversation is one object and has at most one live session.
 */
export function conversationOf(id: string): string {
  const at = id.indexOf("::");
  return at > 0 ? id.slice(0, at) : id;
}

/** Whether a lookup of `asked` finds the session named `id`: the id itself and every `<id>::<anything>`. */
export function lookupMatches(asked: string, id: string): boolean {
  return id === asked || id.startsWith(`${asked}::`);
}

/** A percent-encoded path segment, decoded once. A bad escape stays as it is, as llama-server leaves it. */
export function decodePathId(encoded: string): string {
  return encoded.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Uint8Array.from(run.slice(1).split("%"), (hex) => Number.parseInt(hex, 16));
    return new TextDecoder().decode(bytes);
  });
}
