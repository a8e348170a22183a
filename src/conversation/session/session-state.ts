/**
 * What a session is doing, as one value. Pure.
 *
 *   asking ──▶ streaming ──▶ ended as done             the origin completed the answer
 *      │           ├───────▶ ended as a failure code   the gateway gave up, or the origin cut the answer
 *      ├───────────┼───────▶ ended as stopped          DELETE; nothing is kept
 *      ├───────────┴───────▶ ended as replaced         a new POST; kept until the origin accepts that one
 *      └───────────────────▶ refused                   the origin answered an error before the stream; nothing is kept
 *
 * An ending is final: the first wins.
 */
import type { ApiError, ErrorBody } from "../../errors.ts";
import type { SessionEnd } from "../../protocol.ts";

/** The origin's answer when it refused the request: given to the client as it is. */
export interface OriginRefusal {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Why a request did not become an answer: the origin's word, or ours. */
export type StartFailure = OriginRefusal | ApiError;

export interface EndedState {
  readonly phase: "ended";
  readonly end: Exclude<SessionEnd, "refused">;
  /** Unix milliseconds. */
  readonly at: number;
  /** The origin's, if it had accepted the request. */
  readonly contentType: string | undefined;
  /** Why, for endings that are errors. */
  readonly error: ErrorBody | undefined;
  /**
   * Where an answer breaks off that readers had seen further than it was stored: the bytes behind are not those that were
   * there before a restart.
   */
  readonly brokenFrom: number | undefined;
}

export type SessionState =
  | { readonly phase: "asking" }
  | { readonly phase: "streaming"; readonly contentType: string }
  | EndedState
  | { readonly phase: "refused"; readonly at: number; readonly failure: StartFailure };

export type SessionEvent =
  | { readonly type: "accepted"; readonly contentType: string }
  | { readonly type: "refused"; readonly at: number; readonly failure: StartFailure }
  | {
      readonly type: "ended";
      readonly end: EndedState["end"];
      readonly at: number;
      readonly error: ErrorBody | undefined;
      readonly brokenFrom: number | undefined;
    };

/** The state after `event`: `state` itself where it changes nothing. */
export function nextState(state: SessionState, event: SessionEvent): SessionState {
  switch (state.phase) {
    case "asking":
      if (event.type === "accepted") return { phase: "streaming", contentType: event.contentType };
      if (event.type === "refused") return { phase: "refused", at: event.at, failure: event.failure };
      return ended(state, event);
    case "streaming":
      return event.type === "ended" ? ended(state, event) : state;
    case "ended":
    case "refused":
      return state;
    default:
      return state satisfies never;
  }
}

function ended(state: SessionState, { end, at, error, brokenFrom }: SessionEvent & { type: "ended" }): EndedState {
  return { phase: "ended", end, at, contentType: contentTypeOf(state), error, brokenFrom };
}

export function isLive(state: SessionState): state is Extract<SessionState, { phase: "asking" | "streaming" }> {
  return state.phase === "asking" || state.phase === "streaming";
}

/** The origin accepted the request: there is, or was, an answer. */
export function isAccepted(state: SessionState): boolean {
  return contentTypeOf(state) !== undefined;
}

export function contentTypeOf(state: SessionState): string | undefined {
  return state.phase === "streaming" || state.phase === "ended" ? state.contentType : undefined;
}

/** Bytes; see EndedState. */
export function brokenFromOf(state: SessionState): number | undefined {
  return state.phase === "ended" ? state.brokenFrom : undefined;
}

/** `null` while the session is live, as in a lookup row. */
export function endOf(state: SessionState): SessionEnd | null {
  switch (state.phase) {
    case "asking":
    case "streaming":
      return null;
    case "ended":
      return state.end;
    case "refused":
      return "refused";
    default:
      return state satisfies never;
  }
}
