/**
 * An origin that answers each call as the test has scripted it, the last answer of a kind again and again, and remembers
 * what it was asked. The network is the test's too: an answer's body breaks off when the test drops it or the gateway
 * aborts its connection.
 */
import { ApiError } from "../../../src/errors.ts";
import type { Attachment, Opening, OriginCalls, OriginSession, StopResult } from "../../../src/origin/origin.ts";
import { ScriptedBody } from "./scripted-body.ts";

/** An answer with its head. */
export class ScriptedAnswer extends ScriptedBody {
  readonly contentType: string;
  /** The gateway has ended the connection. */
  isAborted = false;

  constructor(contentType = "text/event-stream") {
    super();
    this.contentType = contentType;
  }

  response(signal: AbortSignal): Response {
    const abort = () => {
      this.isAborted = true;
      this.drop();
    };
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    return new Response(this.stream, { headers: { "Content-Type": this.contentType } });
  }
}

type Answer<T> = T | Promise<T>;
export type ScriptedOpening = ScriptedAnswer | Exclude<Opening, { opened: Response }>;
export type ScriptedAttachment = ScriptedAnswer | Exclude<Attachment, { response: Response }>;

export const UNKNOWN: OriginSession = { state: "unknown" };
export const UNREACHABLE: OriginSession = { state: "unreachable" };
export const UNSUPPORTED: OriginSession = { state: "unsupported" };

export function known(totalBytes = 0): OriginSession {
  return { state: "known", totalBytes };
}

/** The connection broke before an answer. */
export function noAnswer(): Exclude<Opening, { opened: Response } | { refused: object }> {
  return { noAnswer: new ApiError(502, "origin_unreachable", "The connection was lost"), isUntaken: false };
}

/** The origin's own error answer. */
export function refused(status: number): Extract<Opening, { refused: object }> {
  return {
    refused: { status, contentType: "application/json", body: new TextEncoder().encode(`{"error":${status}}`) },
    isUntaken: status === 503,
  };
}

export class ScriptedOrigin implements OriginCalls {
  /** "POST first", "find first", "attach first at 12", "stop first": each with the private id, in the order of the calls. */
  readonly asked: string[] = [];
  /** What was posted. */
  readonly requests: string[] = [];
  openings: Answer<ScriptedOpening>[] = [];
  finds: Answer<OriginSession>[] = [];
  attachments: Answer<ScriptedAttachment>[] = [];
  stops: Answer<StopResult>[] = ["acknowledged"];

  /** How often it was asked so. */
  count(kind: "POST" | "find" | "attach" | "stop"): number {
    return this.asked.filter((call) => call.startsWith(kind)).length;
  }

  async generate(_path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Opening> {
    this.asked.push(`POST ${originId}`);
    this.requests.push(new TextDecoder().decode(body));
    const opening = await unlessAborted(signal, nextOf(this.openings, "POST"), noAnswer());
    return opening instanceof ScriptedAnswer ? { opened: opening.response(signal) } : opening;
  }

  async attach(originId: string, from: number, signal: AbortSignal): Promise<Attachment> {
    this.asked.push(`attach ${originId} at ${from}`);
    const attachment = await unlessAborted(signal, nextOf(this.attachments, "attach"), "unreachable" as const);
    return attachment instanceof ScriptedAnswer ? { response: attachment.response(signal) } : attachment;
  }

  async find(originId: string): Promise<OriginSession> {
    this.asked.push(`find ${originId}`);
    return await nextOf(this.finds, "find");
  }

  async stop(originId: string): Promise<StopResult> {
    this.asked.push(`stop ${originId}`);
    return await nextOf(this.stops, "stop");
  }
}

function nextOf<T>(script: Answer<T>[], call: string): Answer<T> {
  const answer = script.length > 1 ? script.shift() : script[0];
  if (answer === undefined) throw new Error(`The origin has no answer in its script to a ${call}`);
  return answer;
}

/** As fetch: an abort ends the wait for an answer. */
async function unlessAborted<T, U>(signal: AbortSignal, answer: Answer<T>, otherwise: U): Promise<T | U> {
  if (signal.aborted) return otherwise;
  const aborted = new Promise<U>((resolve) => signal.addEventListener("abort", () => resolve(otherwise)));
  return await Promise.race([answer, aborted]);
}
