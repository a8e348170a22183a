/**
 * The route families: every route that generates, and what is particular to the family it belongs to. One row per
 * family; the gateway and a client in an app read the same table.
 *
 * Source: wire contract of llama-server, section 2; the official SDKs of OpenAI and Anthropic for the error events.
 */
import type { ErrorBody } from "./errors.ts";

/** Which event shapes, error shape and terminator a generating route speaks. */
export type RouteFamily = "chat" | "completions" | "completion" | "responses" | "messages";

/** The fields of one server-sent event. `data` may be cut: its start is enough. */
export interface EventFields {
  readonly event: string;
  readonly data: string;
}

export interface Family {
  readonly paths: readonly string[];
  /** Whether this event is the last of a complete answer. Error events of the origin are final in every family. */
  isTerminator(fields: EventFields): boolean;
}

const isDone = ({ data }: EventFields) => data.startsWith("[DONE]");

const FAMILIES: Readonly<Record<RouteFamily, Family>> = {
  chat: {
    paths: ["/v1/chat/completions", "/chat/completions"],
    isTerminator: isDone,
  },
  completions: {
    paths: ["/v1/completions"],
    isTerminator: isDone,
  },
  completion: {
    paths: ["/completion", "/completions", "/infill"],
    isTerminator: (fields) => /^\{.*"stop": ?true/s.test(fields.data) || isDone(fields),
  },
  responses: {
    paths: ["/v1/responses", "/responses"],
    isTerminator: ({ event }) => /^response\.(completed|incomplete|failed)$/.test(event),
  },
  messages: {
    paths: ["/v1/messages"],
    isTerminator: ({ event }) => event === "message_stop",
  },
};

/** Of these llama-server checks the messages before it touches a live session. A set of its own: no client needs it. */
export const NEEDS_MESSAGES: ReadonlySet<RouteFamily> = /* @__PURE__ */ new Set<RouteFamily>(["chat", "messages"]);

/** OpenAI's SDK looks for `error` in the data of any event. */
const dataError = (error: ErrorBody) => `data: ${JSON.stringify({ error })}\n\n`;

/**
 * The error as the last event of a stream, in the shape that makes the official SDK of the family raise. A table of its own,
 * so that a client's bundle is without it.
 */
export const ERROR_EVENTS: Readonly<Record<RouteFamily, (error: ErrorBody) => string>> = {
  chat: dataError,
  completions: dataError,
  completion: dataError,
  responses: (error) => {
    const data = { type: "error", code: error.type, message: error.message, param: null, error };
    return `event: error\ndata: ${JSON.stringify(data)}\n\n`;
  },
  // Anthropic's SDK looks for an event named `error`.
  messages: ({ type, message, code }) =>
    `event: error\ndata: ${JSON.stringify({ type: "error", error: { type, message, code } })}\n\n`,
};

/** Every path that generates. */
export const GENERATING_PATHS: readonly string[] = /* @__PURE__ */ familyNames().flatMap(
  (name) => FAMILIES[name].paths,
);

/** The family of a generating route, `undefined` for any other path. */
export function familyOf(path: string): RouteFamily | undefined {
  return familyNames().find((name) => FAMILIES[name].paths.includes(path));
}

export function isRouteFamily(name: unknown): name is RouteFamily {
  return familyNames().some((family) => family === name);
}

/** The start of an event says enough; llama-server's final `/completion` event carries the whole prompt behind it. */
export const EVENT_START_BYTES = 4_096;

/**
 * Whether a stream whose last event starts with these bytes ended the way its route ends: with the family's terminator, or
 * with the origin's own error event. A clean end after anything else is a cut answer.
 */
export function isFinalEvent(family: RouteFamily, eventStart: Uint8Array): boolean {
  return isFinal(family, eventFields(new TextDecoder().decode(eventStart.subarray(0, EVENT_START_BYTES))));
}

/** The same of an event that was read already. */
export function isFinal(family: RouteFamily, fields: EventFields): boolean {
  return isError(fields) || FAMILIES[family].isTerminator(fields);
}

/** An error event, the origin's own or the gateway's: the last of an answer in every family. */
export function isError({ event, data }: EventFields): boolean {
  return event === "error" || data.startsWith('{"error":');
}

/** The fields of an event, or of the start of one, in any order; comments and other fields are skipped. */
function eventFields(text: string): EventFields {
  let event = "";
  const data: string[] = [];
  for (const line of text.split(/\r\n|\n|\r/)) {
    const [, name, value = ""] = /^(event|data)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === "event") event = value;
    else if (name === "data") data.push(value);
  }
  return { event, data: data.join("\n") };
}

function familyNames(): RouteFamily[] {
  return ["chat", "completions", "completion", "responses", "messages"];
}
