/** A session as an HTTP answer: the stream from an offset, the finished JSON, or why there is neither. */
import { ApiError, badRequest, type ErrorBody, errorResponse, fenced, offsetLost, unknownSession } from "../errors.ts";
import { EVENT_STREAM, JSON_TYPE, ORIGIN_HEADER, SESSION_HEADER } from "../protocol.ts";
import { isReplacedAt } from "./join.ts";
import type { ReplayRequest } from "./messages.ts";
import { readFrom } from "./session/reader.ts";
import type { Session } from "./session/session.ts";
import { contentTypeOf, type OriginRefusal, type StartFailure } from "./session/session-state.ts";

/** The answer to the POST: the origin's refusal, or the session from its first byte. */
export async function opening(session: Session): Promise<Response> {
  await untilSettled(session);
  const { state } = session.record;
  return state.phase === "refused" ? refusal(session, state.failure) : await answer(session, 0);
}

/** The answer to a GET or HEAD. `current` is the conversation's session; `unreadable`, why its sessions cannot be read. */
export async function replay(
  current: Session | undefined,
  { id, session: named, from, isHead }: ReplayRequest,
  unreadable: Error | undefined,
): Promise<Response> {
  if (unreadable) throw new ApiError(503, "interrupted", unreadable.message, { cause: unreadable });
  if (current?.record.id !== id) throw unknownSession();
  const { record } = current;
  if (named !== undefined && named !== record.session) throw fenced(named, record.session);
  if (from === undefined) throw badRequest("Invalid 'from' offset");
  if (named === undefined && isReplacedAt(record, from)) throw fenced(`whose length was ${from}`, record.session);
  return isHead ? answerHead(current, from) : await answer(current, from);
}

/** The session's bytes from `from` on. A JSON answer comes when it is complete. */
async function answer(session: Session, from: number): Promise<Response> {
  if (!session.isEventStream) await untilEnded(session);
  const { state } = session.record;
  // The origin refused the request while this reader waited for its answer.
  if (state.phase === "refused" && !session.isEventStream) return refusal(session, state.failure);
  checkReadable(session, from);
  if (session.isEventStream) return new Response(readFrom(session, from), { headers: answerHeaders(session) });
  const start = session.bodyStart + from;
  const { readable, writable } = new FixedLengthStream(Math.max(0, session.log.end - start));
  // A reader that leaves, or whose bytes are dropped, ends the pipe: the connection then tells.
  readFrom(session, start)
    .pipeTo(writable)
    .catch(() => {});
  return new Response(readable, { headers: answerHeaders(session) });
}

/** As `answer`, without the bytes, and at once. */
function answerHead(session: Session, from: number): Response {
  checkReadable(session, from);
  return new Response(null, { headers: answerHeaders(session) });
}

/** The answer to a request that did not become a session. */
function refusal(session: Session, failure: StartFailure): Response {
  const response = failure instanceof ApiError ? errorResponse(failure) : originRefusal(failure);
  nameOrigins(response.headers, session);
  return response;
}

function originRefusal({ status, contentType, body }: OriginRefusal): Response {
  return new Response(body, { status, headers: { "Content-Type": contentType, "Cache-Control": "no-store" } });
}

/** The same as the last event for readers that were already waiting. */
export function refusalError(failure: StartFailure): ErrorBody {
  if (failure instanceof ApiError) return failure.body;
  const { status, body }: OriginRefusal = failure;
  const message = `The origin refused the request: ${new TextDecoder().decode(body)}`;
  return { code: status, message, type: "server_error" };
}

/** Resolves when the origin has accepted or refused the request, or the session has ended. */
async function untilSettled(session: Session): Promise<void> {
  while (session.record.state.phase === "asking") await session.audience.changed();
}

/** Whoever waits for a JSON answer is a reader: the producer hands on at once what comes. */
async function untilEnded(session: Session): Promise<void> {
  const leave = session.audience.join();
  try {
    while (session.isLive) await session.audience.changed();
  } finally {
    leave();
  }
}

function checkReadable(session: Session, from: number): void {
  const { state } = session.record;
  if (!session.isEventStream && state.phase === "ended") {
    if (state.end === "stopped") throw new ApiError(409, "conversation_stopped", "The conversation was stopped");
    if (state.error) throw new ApiError(state.error.code, state.error.type, state.error.message);
  }
  const offset = session.bodyStart + from;
  if (offset < session.log.start || session.hasLost(offset)) throw offsetLost();
}

/** The last one answers. */
function nameOrigins(headers: Headers, { record }: Session): void {
  if (record.origin !== undefined) headers.set(ORIGIN_HEADER, [...record.refusedBy, record.origin].join(", "));
}

function answerHeaders(session: Session): Headers {
  const headers = new Headers({ "Cache-Control": "no-store", [SESSION_HEADER]: session.record.session });
  nameOrigins(headers, session);
  // Before the origin has answered, what the request asked for is all there is to go by.
  const contentType = contentTypeOf(session.record.state) ?? (session.isEventStream ? EVENT_STREAM : JSON_TYPE);
  headers.set("Content-Type", contentType);
  // llama-server sends it too: proxies in front of us are not to collect events.
  if (session.isEventStream) headers.set("X-Accel-Buffering", "no");
  return headers;
}
