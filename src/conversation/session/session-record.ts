/**
 * What of a session survives a restart beside its log: one row of text. Times are Unix milliseconds.
 *
 * Version 1 (see records.ts) has the state in five fields, versions 1 and 2 know of one origin only. They are read, never
 * written.
 */
import type { ErrorBody } from "../../errors.ts";
import { isRouteFamily, type RouteFamily } from "../../families.ts";
import { FAILURE_CODES } from "../../protocol.ts";
import { OWNER_KEY } from "../../tenant/messages.ts";
import type { EndedState, SessionState } from "./session-state.ts";

/** A live session that a newer request replaced. */
export interface Replaced {
  /** The hash of its request's body: a late retry of that is no new request. */
  readonly bodyHash: string;
  /** Absent in what was replaced before this was remembered. */
  readonly idempotencyKey?: string | undefined;
  /** Its length as its readers saw it, bytes: one that comes back there means that session. */
  readonly length: number;
  readonly at: number;
}

/** A request as an origin knows it. */
export interface OriginRequest {
  /** The origin's name. */
  readonly origin: string;
  /** The conversation id that we sent there. */
  readonly originId: string;
}

/** What does not change in the life of a session. */
export interface SessionIdentity {
  /** Public name of the session, in the Holdfast-Session header. */
  readonly session: string;
  /** The conversation id as the client gave it, `::model` included. */
  readonly id: string;
  /** The route at the origin. */
  readonly path: string;
  readonly family: RouteFamily;
  /** The request's `stream` field. */
  readonly wantsStream: boolean;
  readonly idempotencyKey: string | undefined;
  /** SHA-256 of the request body, hexadecimal. */
  readonly bodyHash: string;
  /** The name of the key that it was asked for with: for usage. */
  readonly key: string;
  /** The model that the request named. */
  readonly model: string | undefined;
  readonly startedAt: number;
  /** The conversation's sessions that were replaced while live, the newest last. */
  readonly replaced: readonly Replaced[];
}

export interface SessionRecord extends SessionIdentity {
  /** Private name of the session at the origin: the conversation id we send there. */
  readonly originId: string;
  /** The name of the origin that has the request; `undefined`: none was chosen yet, and nothing sent. */
  readonly origin: string | undefined;
  /** Origins that were asked before that one, and did not take the request; the latest last. */
  readonly refusedBy: readonly string[];
  /** The requests as they were sent before, if an origin may have one of them in spite of what it said. */
  readonly abandoned: readonly OriginRequest[];
  /** How many of the requests broke at the origin, or on the way to it, before a byte of an answer. */
  readonly brokenRequests: number;
  /** Connections to the origin after the first. */
  readonly reattached: number;
  readonly state: SessionState;
}

/** A refused session is never stored. */
export function encodeRecord(record: SessionRecord): string {
  return JSON.stringify(record);
}

/**
 * `firstOrigin`: of the sessions from before origins had names. Throws when the text is no record of that version.
 */
export function decodeRecord(text: string, version: number, firstOrigin: string): SessionRecord {
  const fields: unknown = JSON.parse(text);
  if (!isFields(fields)) throw new Error("A session's record is no object");
  const origins = version <= 2 ? decodeSingleOrigin(fields, firstOrigin) : decodeOrigins(fields);
  if (version === 1) return decodeVersion1(fields, origins);
  return {
    ...decodeIdentity(fields),
    ...origins,
    replaced: listOf(fields, "replaced", decodeReplaced),
    brokenRequests: numberOf(fields, "brokenRequests"),
    ...decodeProgress(fields),
    state: decodeState(fieldsOf(fields, "state")),
  };
}

type Origins = Pick<SessionRecord, "origin" | "refusedBy" | "abandoned">;

function decodeOrigins(fields: Fields): Origins {
  return {
    origin: optionalString(fields, "origin"),
    refusedBy: listOf(fields, "refusedBy", String),
    abandoned: listOf(fields, "abandoned", decodeOriginRequest),
  };
}

function decodeOriginRequest(fields: unknown): OriginRequest {
  if (!isFields(fields)) throw missing("list of abandoned requests");
  return { origin: stringOf(fields, "origin"), originId: stringOf(fields, "originId") };
}

function decodeSingleOrigin(fields: Fields, origin: string): Origins {
  const abandoned = listOf(fields, "abandonedIds", (id) => ({ origin, originId: String(id) }));
  return { origin, refusedBy: [], abandoned };
}

function decodeVersion1(fields: Fields, origins: Origins): SessionRecord {
  const at = optionalNumber(fields, "completedAt") ?? 0;
  const contentType = optionalString(fields, "contentType");
  const end = fields.end;
  let state: SessionState = contentType === undefined ? { phase: "asking" } : { phase: "streaming", contentType };
  if (end !== null) {
    const brokenFrom = optionalNumber(fields, "lostFrom");
    state = { phase: "ended", end: endNamed(end), at, contentType, error: decodeError(fields.error), brokenFrom };
  }
  const bodyHash = optionalString(fields, "replacedHash");
  const startedAt = numberOf(fields, "startedAt");
  const replaced = bodyHash === undefined ? [] : [{ bodyHash, length: 0, at: startedAt }];
  return { ...decodeIdentity(fields), ...origins, replaced, brokenRequests: 0, ...decodeProgress(fields), state };
}

function decodeIdentity(fields: Fields): Omit<SessionIdentity, "replaced"> {
  const { family } = fields;
  if (!isRouteFamily(family)) throw new Error("A session's record has no route family");
  return {
    session: stringOf(fields, "session"),
    id: stringOf(fields, "id"),
    path: stringOf(fields, "path"),
    family,
    wantsStream: fields.wantsStream === true,
    idempotencyKey: optionalString(fields, "idempotencyKey"),
    bodyHash: stringOf(fields, "bodyHash"),
    // Absent in the records of before there were issued keys.
    key: optionalString(fields, "key") ?? OWNER_KEY,
    model: optionalString(fields, "model"),
    startedAt: numberOf(fields, "startedAt"),
  };
}

function decodeProgress(fields: Fields): Pick<SessionRecord, "originId" | "reattached"> {
  return {
    originId: stringOf(fields, "originId"),
    reattached: numberOf(fields, "reattached"),
  };
}

function decodeState(fields: Fields): SessionState {
  const contentType = optionalString(fields, "contentType");
  switch (fields.phase) {
    case "asking":
      return { phase: "asking" };
    case "streaming":
      return { phase: "streaming", contentType: contentType ?? "" };
    case "ended": {
      const at = numberOf(fields, "at");
      const brokenFrom = optionalNumber(fields, "brokenFrom");
      return {
        phase: "ended",
        end: endNamed(fields.end),
        at,
        contentType,
        error: decodeError(fields.error),
        brokenFrom,
      };
    }
    default:
      throw new Error("A session's record has no state");
  }
}

const ENDS: readonly EndedState["end"][] = ["done", "stopped", "replaced", ...FAILURE_CODES];

function endNamed(name: unknown): EndedState["end"] {
  const end = ENDS.find((candidate) => candidate === name);
  if (end === undefined) throw new Error("A session's record has an unknown ending");
  return end;
}

function decodeReplaced(fields: unknown): Replaced {
  if (!isFields(fields)) throw new Error("A session's record has no list of replaced sessions");
  return {
    bodyHash: stringOf(fields, "bodyHash"),
    idempotencyKey: optionalString(fields, "idempotencyKey"),
    length: numberOf(fields, "length"),
    at: numberOf(fields, "at"),
  };
}

function decodeError(fields: unknown): ErrorBody | undefined {
  if (!isFields(fields)) return undefined;
  const type = [...FAILURE_CODES, "conversation_replaced" as const].find((candidate) => candidate === fields.type);
  return { code: numberOf(fields, "code"), message: stringOf(fields, "message"), type: type ?? "server_error" };
}

type Fields = Record<string, unknown>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function fieldsOf(fields: Fields, name: string): Fields {
  const value = fields[name];
  if (!isFields(value)) throw missing(name);
  return value;
}

function stringOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw missing(name);
  return value;
}

function numberOf(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number") throw missing(name);
  return value;
}

function listOf<T>(fields: Fields, name: string, decode: (item: unknown) => T): T[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw missing(name);
  return value.map(decode);
}

function optionalString(fields: Fields, name: string): string | undefined {
  return fields[name] === undefined || fields[name] === null ? undefined : stringOf(fields, name);
}

function optionalNumber(fields: Fields, name: string): number | undefined {
  return fields[name] === undefined || fields[name] === null ? undefined : numberOf(fields, name);
}

function missing(name: string): Error {
  return new Error(`A session's record has no ${name}`);
}
