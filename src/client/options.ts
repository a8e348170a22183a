/** What an app hands to `createResumingFetch`, and what it gets back. */
import type { LookupRow } from "../protocol.ts";
import type { HoldfastError } from "./holdfast-error.ts";

/** The part of `fetch` that every runtime and every SDK has. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

type MaybePromise<Value> = Value | Promise<Value>;

/**
 * Where a reload finds what the page before it had asked: `localStorage`, React Native's AsyncStorage, or anything of
 * that shape. One short entry per unfinished answer; it holds no text and no key.
 */
export interface ResumeStorage {
  getItem(key: string): MaybePromise<string | null>;
  setItem(key: string, value: string): MaybePromise<unknown>;
  removeItem(key: string): MaybePromise<unknown>;
}

export interface ResumingFetchOptions {
  /** The gateway's address, with or without `/v1`. Requests to anywhere else pass through untouched. */
  url: string;
  /**
   * Goes out as `Authorization: Bearer …`, in place of what the SDK sends. A function is asked before every request, so a
   * key may expire in the middle of an answer. Left out: resumes repeat the credentials of the request.
   */
  apiKey?: string | (() => MaybePromise<string>) | undefined;
  /**
   * Which conversation a request belongs to. A header `X-Conversation-Id` on the request comes first; a request with
   * neither passes through, and is not resumed. A function sees each generating request.
   */
  conversationId?: string | ((url: URL, init: RequestInit) => MaybePromise<string | undefined>) | undefined;
  /** A request that a reload cut off is joined, not asked again, when the app asks the same. Left out: nothing outlives the page. */
  storage?: ResumeStorage | undefined;
  /** The `fetch` underneath: `expo/fetch` in React Native, whose own does not stream. Default: the global one. */
  fetch?: Fetch | undefined;
  /** For a UI. Called whenever the state of an answer changes; what it throws is logged and changes nothing. */
  onState?: ((state: AnswerState) => void) | undefined;
  /** Aborting the request or leaving its body stops the GPU. Default: it only detaches, and the answer goes on. */
  stopOnAbort?: boolean | undefined;
  /** Silence after which a connection is taken for dead; the gateway pings every 2 s. Default 12,000. */
  stallMs?: number | undefined;
  /** How long a POST may wait for its headers before it is sent again, to join itself. Default 60,000. */
  answerMs?: number | undefined;
  /**
   * Total of the pauses between tries after which an answer is given up as `unreachable`. Default 600,000; for the first
   * request, `lookup` and `stop` at most 30,000. Time in which the device slept does not count.
   */
  giveUpAfterMs?: number | undefined;
}

/**
 * How an answer is doing:
 *
 *   live ⇄ waiting ──▶ ended
 *     └─────────────────▲
 *
 * `ended` comes once and is the last. `session` is unknown until the gateway has answered.
 */
export type AnswerState = {
  conversationId: string;
  session: string | undefined;
  /** Bytes of the session that the app was given, or was asked to start behind. */
  offset: number;
  /** Connections after the first. */
  resumes: number;
} & (
  | { name: "live" }
  /** No connection. The next try is in `retryInMs`, or earlier if `wake()` says so. */
  | { name: "waiting"; retryInMs: number; cause: unknown }
  | { name: "ended"; how: AnswerEnd; error?: HoldfastError }
);

/**
 * - `done`: complete.
 * - `stopped`: by `stop()` here or elsewhere; what was read so far is all there is.
 * - `replaced`: a newer request took the conversation over.
 * - `failed`: see `error`.
 * - `detached`: the app aborted or left; the answer goes on without it (unless `stopOnAbort`).
 */
export type AnswerEnd = "done" | "stopped" | "replaced" | "failed" | "detached";

export interface AttachOptions {
  /** The first byte wanted; default 0. Count bytes, not characters. */
  from?: number | undefined;
  /** The session that `from` counts in: if the conversation has another one by now, that is `conversation_replaced`. */
  session?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * A `fetch` whose answers survive the network, and what belongs to it. Give it to any SDK; all else it passes on to the
 * `fetch` underneath.
 */
export interface ResumingFetch {
  /**
   * A POST on a generating route that belongs to a conversation: one unbroken answer. Rejects with a `HoldfastError`, or
   * with the signal's reason; a refusal of the gateway is a `Response`, as with any `fetch`. If the answer cannot be had to
   * its end, reading the body rejects with a `HoldfastError`.
   */
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /**
   * Reads the conversation's answer, running or finished: after a reload, or on another device. The body is that of the
   * POST, from byte `from` on. Rejects with `gone` when there is none.
   */
  attach(conversationId: string, options?: AttachOptions): Promise<Response>;
  /** A `fetch` that answers an SDK's POST with the replay of the conversation's answer, and asks nothing. */
  attachFetch(conversationId: string): Fetch;
  /** Which of these conversations (at most 10,000) have an answer, running or finished; those without are left out. */
  lookup(conversationIds: readonly string[], options?: { signal?: AbortSignal | undefined }): Promise<LookupRow[]>;
  /**
   * Stops the conversation's answer and frees the GPU; what was kept of it is forgotten. Fenced by the session that this
   * object (or its storage) knows: `false` when a newer request has the conversation by now, which goes on. Without an id:
   * the conversation of the options.
   */
  stop(conversationId?: string): Promise<boolean>;
  /**
   * The device is back: look after every connection now. Browsers need no call, their events (`online`, `pageshow`,
   * `visibilitychange`) are listened to; in React Native call it when `AppState` becomes `active`.
   */
  wake(): void;
}
