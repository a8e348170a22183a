/**
 * What the Worker asks of a conversation's object, both directions. Streams (start, replay) travel as HTTP requests, in
 * the query of an internal URL, with the request's body as it came; short questions are RPC methods with plain values.
 */
import { isRouteFamily, type RouteFamily } from "../families.ts";

/** A POST on a generating route. The request's body follows. */
export interface StartRequest {
  /** The conversation id as the client gave it, `::model` included. */
  readonly id: string;
  /** The route at the origin. */
  readonly path: string;
  readonly family: RouteFamily;
  /** The body's `stream` field. */
  readonly wantsStream: boolean;
  /** The body's `model` field. */
  readonly model: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** The client's SDK sends this request again on its own. */
  readonly isRetry: boolean;
  /** SHA-256 of the body, hexadecimal. */
  readonly bodyHash: string;
  /** The name of the caller's key, for usage. */
  readonly key: string;
  /** Names the slot that the tenant's object holds for this request; see tenant/messages.ts. */
  readonly ticket: string | undefined;
}

/** A GET or HEAD of the session's bytes. */
export interface ReplayRequest {
  readonly id: string;
  /** Bytes; `undefined` when the client's `from` is no offset: an unknown id is a 404 all the same. */
  readonly from: number | undefined;
  /** The session that the client has bytes of. */
  readonly session: string | undefined;
  readonly isHead: boolean;
}

/** A DELETE. Fenced by `session`, it stops that session only. */
export interface StopRequest {
  readonly id: string;
  readonly session: string | undefined;
}

export interface StopAnswer {
  /** The conversation's session, where the fence named another one: nothing was stopped. */
  readonly replacedBy: string | undefined;
  /** Whether there was anything of that id. */
  readonly found: boolean;
}

const ROOT = "https://conversation";
const START = "/start";
const REPLAY = "/replay";

export function encodeStart(start: StartRequest, body: Uint8Array): Request {
  return new Request(withMessage(START, start), { method: "POST", body });
}

export function encodeReplay(replay: ReplayRequest): Request {
  return new Request(withMessage(REPLAY, replay));
}

/** The message of an internal request. Throws TypeError when it is none: only the Worker sends them. */
export function decode(request: Request): { start: StartRequest } | { replay: ReplayRequest } {
  const url = new URL(request.url);
  const fields: unknown = JSON.parse(url.searchParams.get("message") ?? "null");
  if (url.pathname === START && isStart(fields)) {
    const { idempotencyKey, model, ticket } = fields;
    return { start: { ...fields, idempotencyKey, model, ticket } };
  }
  if (url.pathname === REPLAY && isReplay(fields)) {
    return { replay: { ...fields, from: fields.from, session: fields.session } };
  }
  throw new TypeError(`Not a message to a conversation: ${url.pathname}`);
}

function withMessage(path: string, message: object): string {
  return `${ROOT}${path}?${new URLSearchParams({ message: JSON.stringify(message) })}`;
}

/** JSON leaves fields out that are `undefined`. */
function isStart(value: unknown): value is StartRequest {
  return (
    isFields(value) &&
    typeof value.id === "string" &&
    typeof value.path === "string" &&
    isRouteFamily(value.family) &&
    typeof value.wantsStream === "boolean" &&
    isOptional(value.model, "string") &&
    isOptional(value.idempotencyKey, "string") &&
    typeof value.isRetry === "boolean" &&
    typeof value.bodyHash === "string" &&
    typeof value.key === "string" &&
    isOptional(value.ticket, "string")
  );
}

function isReplay(value: unknown): value is ReplayRequest {
  return (
    isFields(value) &&
    typeof value.id === "string" &&
    isOptional(value.from, "number") &&
    isOptional(value.session, "string") &&
    typeof value.isHead === "boolean"
  );
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isOptional(value: unknown, type: "string" | "number"): boolean {
  return value === undefined || typeof value === type;
}
