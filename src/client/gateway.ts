/**
 * The gateway's side routes as calls: read, stop, look up. Each is one try. A `HoldfastError` is the gateway's final
 * word; any other rejection is a passing trouble, and worth another try.
 */
import {
  CONVERSATION_HEADER,
  EVENT_STREAM,
  type FailureCode,
  JSON_TYPE,
  LOOKUP_PATH,
  type LookupRow,
  SESSION_HEADER,
  SHOULD_RETRY_HEADER,
  STREAM_PATH,
} from "../protocol.ts";
import type { Asked, Credentials } from "./asked.ts";
import { errorIn } from "./event-tail.ts";
import { HoldfastError, type HoldfastErrorCode } from "./holdfast-error.ts";
import type { Fetch, ResumingFetchOptions } from "./options.ts";
import { headersOf, urlOf } from "./requests.ts";

/** Not every runtime's types know it; those that do not act on it ignore it. */
const OUTLIVES_THE_PAGE = { keepalive: true };

const CREDENTIAL_HEADERS = ["authorization", "x-api-key"];

/** A refusal that will pass. */
export class Unavailable extends Error {
  readonly refusal: HoldfastError;

  constructor(refusal: HoldfastError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

export class Gateway {
  readonly #base: string;
  readonly #fetch: Fetch;
  readonly #apiKey: ResumingFetchOptions["apiKey"];

  constructor({ url, fetch, apiKey }: ResumingFetchOptions) {
    this.#base = absolute(url).replace(/\/+$/, "").replace(/\/v1$/, "");
    // Looked up at each call, on the global object: browsers refuse a `fetch` called as a method of anything else.
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#apiKey = apiKey;
  }

  /** The path of a URL at the gateway, `undefined` for one elsewhere. */
  pathOf(given: string): string | undefined {
    const url = absolute(given);
    if (!url.startsWith(`${this.#base}/`)) return undefined;
    return url.slice(this.#base.length).split(/[?#]/, 1)[0];
  }

  /** A request that is not resumed: as it is, but for the key where it goes to the gateway. */
  async passOn(input: string | URL | Request, init: RequestInit | undefined): Promise<Response> {
    const key = this.pathOf(urlOf(input)) === undefined ? undefined : await this.#key();
    if (key === undefined) return await this.#fetch(input, init);
    return await this.#fetch(input, { ...init, headers: withKey(headersOf(input, init), key) });
  }

  /** With the key of the options, if there is one. */
  async send(url: string, init: RequestInit, headers: Headers): Promise<Response> {
    return await this.#fetch(url, { ...init, headers: withKey(headers, await this.#key()) });
  }

  /** The session's bytes from an offset on, live or ended. */
  async read({ id, session, credentials }: Asked, from: number, signal: AbortSignal) {
    const headers = new Headers({ ...credentials, Accept: EVENT_STREAM });
    const response = await this.send(this.#streamUrl(id, session, `&from=${from}`), { signal }, headers);
    if (!response.ok) throw await refusal(response);
    const current = response.headers.get(SESSION_HEADER);
    // A captive portal answers 200 as well.
    if (current === null) throw new Unavailable(notOurs(response));
    if (session !== undefined && current !== session) {
      throw new HoldfastError("conversation_replaced", `The session is ${current}, not ${session}`);
    }
    return { response, session: current };
  }

  /** False: fenced off, a newer session has the conversation. */
  async stop({ id, session, credentials }: Asked, signal: AbortSignal): Promise<boolean> {
    const init: RequestInit = { method: "DELETE", signal, ...OUTLIVES_THE_PAGE };
    const response = await this.send(this.#streamUrl(id, session), init, new Headers(credentials));
    if (response.ok) return true;
    const error = await refusal(response);
    if (error instanceof HoldfastError && error.code === "conversation_replaced") return false;
    throw error;
  }

  async lookup(ids: readonly string[], credentials: Credentials, signal: AbortSignal): Promise<LookupRow[]> {
    const init: RequestInit = { method: "POST", body: JSON.stringify({ conversation_ids: ids }), signal };
    const headers = new Headers({ ...credentials, "Content-Type": JSON_TYPE });
    const response = await this.send(this.#base + LOOKUP_PATH, init, headers);
    if (!response.ok) throw await refusal(response);
    return (await response.json()) as LookupRow[];
  }

  #streamUrl(id: string, session: string | undefined, more = ""): string {
    const fence = session === undefined ? "" : `&session=${session}`;
    return `${this.#base}${STREAM_PATH}?conv_id=${encodeURIComponent(id)}${fence}${more}`;
  }

  async #key(): Promise<string | undefined> {
    return typeof this.#apiKey === "function" ? await this.#apiKey() : this.#apiKey;
  }
}

/** In one spelling; in a page a relative URL is one of its host. */
function absolute(url: string): string {
  return new URL(url, (globalThis as { location?: { href: string } }).location?.href).href;
}

export function credentialsIn(headers: Headers): Credentials {
  const found = CREDENTIAL_HEADERS.map((name) => [name, headers.get(name)] as const);
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** A header value is bytes, and `fetch` has one character for each: an id goes out as its UTF-8. */
export function setConversation(headers: Headers, id: string): void {
  headers.set(CONVERSATION_HEADER, String.fromCharCode(...new TextEncoder().encode(id)));
}

export function conversationIn(headers: Headers): string | undefined {
  const value = headers.get(CONVERSATION_HEADER)?.trim();
  return value && new TextDecoder().decode(Uint8Array.from(value, (character) => character.charCodeAt(0)));
}

function withKey(headers: Headers, key: string | undefined): Headers {
  if (key === undefined) return headers;
  const keyed = new Headers(headers);
  for (const name of CREDENTIAL_HEADERS) keyed.delete(name);
  keyed.set("Authorization", `Bearer ${key}`);
  return keyed;
}

type OwnCode = FailureCode | "conversation_replaced" | "conversation_stopped";

const OWN_CODES: Readonly<Record<OwnCode, true>> = {
  origin_lost: true,
  origin_truncated: true,
  origin_timeout: true,
  interrupted: true,
  too_long: true,
  conversation_replaced: true,
  conversation_stopped: true,
};

/** Types of errors that only the gateway gives, about sessions that are over. */
export function isGatewaysOwn(type: string): type is OwnCode {
  return type in OWN_CODES;
}

/** An answer that names no session, where the gateway's would. */
export function notOurs(response: Response): HoldfastError {
  return new HoldfastError("refused", `The answer has no ${SESSION_HEADER}`, { response });
}

/**
 * What an answer other than a 2xx means, to be thrown. Only the gateway's own error shape is believed: what stands in front
 * of it has a 403 and a 404 of its own.
 */
export async function refusal(refused: Response, isPost = false): Promise<HoldfastError | Unavailable> {
  const { status, headers } = refused;
  const text = await refused.text();
  const error = errorIn(text);
  const isFinal = isPost ? error || status < 500 : error && isFinalAnswer(refused, error.type);
  const code = error ? codeOf(status, error) : "refused";
  const message = error?.message ?? `${status}: ${text.slice(0, 200)}`;
  const final = new HoldfastError(code, message, { response: new Response(text, { status, headers }) });
  return isFinal ? final : new Unavailable(final);
}

/** A POST is the app's, and so is its refusal; a resume waits for what passes. */
function isFinalAnswer({ status, headers }: Response, type: string): boolean {
  if (status < 500 && status !== 429) return true;
  return isGatewaysOwn(type) || headers.get(SHOULD_RETRY_HEADER) === "false";
}

function codeOf(status: number, { type, message }: { type: string; message: string }): HoldfastErrorCode {
  if (isGatewaysOwn(type)) return type;
  if (status === 400 && message.startsWith("Stream offset lost")) return "offset_lost";
  return CODES[status] ?? "refused";
}

const CODES: Readonly<Record<number, HoldfastErrorCode>> = {
  401: "unauthorised",
  403: "unauthorised",
  404: "gone",
  429: "too_many",
};
