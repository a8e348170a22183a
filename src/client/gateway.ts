/**
 * The gateway's side routes as calls: read, stop, look up. Each is one try. A `HoldfastError` is the gateway's final
 * word; any other rejection is a passing trouble, and worth another try.
 */
import {
  CONVERSATION_HEADER,
  EVENT_STREAM,
  FAILURE_CODES,
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
import { headersOf, type InitWithHeaders, urlOf } from "./requests.ts";

export class Gateway {
  readonly #base: string;
  readonly #fetch: Fetch;
  readonly #apiKey: ResumingFetchOptions["apiKey"];

  constructor({ url, fetch, apiKey }: ResumingFetchOptions) {
    this.#base = withoutQuery(url).replace(/(\/v1)?\/*$/, "");
    // Looked up at each call, on the global object: browsers refuse a `fetch` called as a method of anything else.
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#apiKey = apiKey;
  }

  /** The path of a URL at the gateway, `undefined` for one elsewhere. */
  pathOf(given: string): string | undefined {
    const url = withoutQuery(given);
    return url.startsWith(`${this.#base}/`) ? url.slice(this.#base.length) : undefined;
  }

  /** A request that is not resumed: as it is, but for the key where it goes to the gateway. */
  async passOn(input: string | URL | Request, init: RequestInit | undefined): Promise<Response> {
    if (!this.pathOf(urlOf(input))) return await this.#fetch(input, init);
    return await this.#fetch(input, await this.#withKey({ ...init, headers: headersOf(input, init) }));
  }

  /** Sends the request of an answer's bytes, and notes their session. */
  async open(asked: Asked, url: string, init: InitWithHeaders, isPost?: boolean): Promise<Response> {
    const response = await this.#send(url, init, isPost);
    const session = response.headers.get(SESSION_HEADER);
    if (!session) {
      const error = new HoldfastError("refused", `The answer has no ${SESSION_HEADER}`, { response });
      // A captive portal answers 200 as well.
      throw isPost ? error : passing(error);
    }
    if (!isPost && asked.session && session !== asked.session) {
      throw new HoldfastError("conversation_replaced", `The session is ${session}, not ${asked.session}`);
    }
    asked.session = session;
    return response;
  }

  /** The session's bytes from an offset on, live or ended. */
  async read(asked: Asked, from: number, signal: AbortSignal): Promise<Response> {
    const headers = new Headers({ ...asked.credentials, Accept: EVENT_STREAM });
    return await this.open(asked, `${this.#streamUrl(asked)}&from=${from}`, { headers, signal });
  }

  /** False: fenced off, a newer session has the conversation. */
  async stop(asked: Asked, signal: AbortSignal): Promise<boolean> {
    // It outlives the page, where the runtime knows of such a thing.
    const init = { method: "DELETE", headers: new Headers(asked.credentials), signal, keepalive: true };
    try {
      await this.#send(this.#streamUrl(asked), init);
      return true;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === "conversation_replaced") return false;
      throw error;
    }
  }

  async lookup(ids: readonly string[], credentials: Credentials, signal: AbortSignal): Promise<LookupRow[]> {
    const headers = new Headers({ ...credentials, "Content-Type": JSON_TYPE });
    const body = JSON.stringify({ conversation_ids: ids });
    const response = await this.#send(this.#base + LOOKUP_PATH, { method: "POST", headers, body, signal });
    return (await response.json()) as LookupRow[];
  }

  /** Throws what is not a 2xx: see `refusal`. */
  async #send(url: string, init: InitWithHeaders, isPost?: boolean): Promise<Response> {
    const response = await this.#fetch(url, await this.#withKey(init));
    if (response.ok) return response;
    throw await refusal(response, isPost);
  }

  #streamUrl({ id, session }: Asked): string {
    const fence = session ? `&session=${session}` : "";
    return `${this.#base}${STREAM_PATH}?conv_id=${encodeURIComponent(id)}${fence}`;
  }

  /** The key of the options, if there is one, in place of any other. */
  async #withKey(init: InitWithHeaders): Promise<InitWithHeaders> {
    const key = typeof this.#apiKey === "function" ? await this.#apiKey() : this.#apiKey;
    if (key !== undefined) {
      init.headers.delete("X-Api-Key");
      init.headers.set("Authorization", `Bearer ${key}`);
    }
    return init;
  }
}

/** In a page a relative URL is one of its host. */
export function absolute(url: string): URL {
  return new URL(url, (globalThis as { location?: { href: string } }).location?.href);
}

/** In one spelling, up to its path. */
function withoutQuery(url: string): string {
  return absolute(url).href.replace(/[?#].*/, "");
}

export function credentialsIn(headers: Headers): Credentials {
  const found: Record<string, string> = {};
  for (const name of ["Authorization", "X-Api-Key"]) {
    const value = headers.get(name);
    if (value !== null) found[name] = value;
  }
  return found;
}

/** A header value is bytes, and `fetch` has one character for each: an id goes out as its UTF-8. */
export function setConversation(headers: Headers, id: string): void {
  headers.set(CONVERSATION_HEADER, String.fromCharCode(...new TextEncoder().encode(id)));
}

export function conversationIn(headers: Headers): string | null {
  const value = headers.get(CONVERSATION_HEADER);
  return value && new TextDecoder().decode(Uint8Array.from(value, (character) => character.charCodeAt(0)));
}

type OwnCode = FailureCode | "conversation_replaced" | "conversation_stopped";

const OWN_CODES: readonly string[] = [
  ...FAILURE_CODES,
  "conversation_replaced",
  "conversation_stopped",
] satisfies OwnCode[];

/** Types of errors that only the gateway gives, about sessions that are over. */
export function isGatewaysOwn(type: string): type is OwnCode {
  return OWN_CODES.includes(type);
}

/** The same as a trouble that will pass. */
function passing(refusal: HoldfastError): Error {
  return new Error(refusal.message, { cause: refusal });
}

/**
 * What an answer other than a 2xx means, to be thrown. Only the gateway's own error shape is believed: what stands in front
 * of it has a 403 and a 404 of its own.
 */
async function refusal(refused: Response, isPost?: boolean): Promise<Error> {
  const { status, headers } = refused;
  const text = await refused.text();
  const error = errorIn(text);
  const isFinal = isPost ? error || status < 500 : error && isFinalAnswer(refused, error.type);
  const code = error ? codeOf(status, error) : "refused";
  const message = error?.message ?? `${status}: ${text.slice(0, 200)}`;
  const final = new HoldfastError(code, message, { response: new Response(text, { status, headers }) });
  return isFinal ? final : passing(final);
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
