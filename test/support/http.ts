/**
 * A raw HTTP client for black-box tests. Unlike `fetch` it shows each byte as it arrives, tells a clean end of the body
 * from a broken connection, can leave by FIN or by RST, and can stop reading without leaving.
 *
 *     send() ─▶ Exchange ──answer──▶ Answer ──readUntil / whole / closed──▶ bytes
 *
 * Every exchange has a connection of its own, so ending one ends nothing else.
 */
import { type ClientRequest, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { within } from "../../tools/wait.ts";

export interface SendOptions {
  headers?: Record<string, string>;
  /** A string or bytes as they are; anything else as JSON. */
  body?: unknown;
  /** The body is not read before `resume()`: a client that stalls. */
  stalled?: boolean;
}

export class Exchange {
  /** Resolves when the response headers are there. */
  readonly answer: Promise<Answer>;
  hasHeaders = false;
  readonly #request: ClientRequest;

  constructor(http: ClientRequest, stalled: boolean) {
    this.#request = http;
    this.answer = new Promise((resolve, reject) => {
      http.once("response", (response) => {
        this.hasHeaders = true;
        resolve(new Answer(http, response, stalled));
      });
      http.once("error", reject);
    });
    // Whoever leaves before the headers does not wait for them.
    this.answer.catch(() => {});
  }

  /** Leaves as an app that was closed does: the socket says FIN. */
  destroy(): void {
    this.#request.destroy();
  }
}

export type Ending = "clean" | "broken";

export class Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** How the body ended: with its last chunk, or with the connection. */
  readonly closed: Promise<Ending>;
  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #ended = false;
  readonly #waiting = new Set<() => void>();

  constructor(http: ClientRequest, response: IncomingMessage, stalled: boolean) {
    this.#request = http;
    this.#response = response;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    this.closed = new Promise((resolve) => {
      response.once("close", () => {
        this.#ended = true;
        this.#wake();
        resolve(response.complete ? "clean" : "broken");
      });
    });
    // "close" follows and says the same.
    response.on("error", () => {});
    http.on("error", () => {});
    if (!stalled) this.resume();
  }

  /** Everything that arrived so far. */
  get bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks));
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  get text(): string {
    return this.bytes.toString();
  }

  get length(): number {
    return this.#length;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Starts to read a `stalled` body. */
  resume(): void {
    this.#response.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
  }

  /** Waits for so many bytes, for a piece of text, or until the predicate likes what arrived so far. */
  async readUntil(wanted: number | string | ((bytes: Buffer) => boolean), deadlineMs?: number): Promise<this> {
    const isEnough = () => {
      if (typeof wanted === "number") return this.#length >= wanted;
      return typeof wanted === "string" ? this.bytes.includes(wanted) : wanted(this.bytes);
    };
    const what = typeof wanted === "function" ? "what the test wants" : JSON.stringify(wanted);
    const arrive = async () => {
      while (!isEnough()) {
        if (this.#ended) throw new Error(`The body ended after ${this.#length} bytes without ${what}: ${this.#tail()}`);
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    };
    await within(arrive(), `${what} in the body`, deadlineMs);
    return this;
  }

  /** The whole body, which must end cleanly. */
  async whole(deadlineMs = 20_000): Promise<Buffer> {
    const ending = await within(this.closed, "the end of the body", deadlineMs);
    if (ending === "broken") throw new Error(`The connection broke after ${this.#length} bytes: ${this.#tail()}`);
    return this.bytes;
  }

  async json(): Promise<unknown> {
    return JSON.parse((await this.whole()).toString());
  }

  /** Leaves by FIN, as an app that was closed does. */
  destroy(): void {
    this.#request.destroy();
  }

  /** Leaves by RST, as a phone that lost its address does when the next packet comes. */
  reset(): void {
    this.#request.socket?.resetAndDestroy();
  }

  #tail(): string {
    return JSON.stringify(this.bytes.subarray(-200).toString());
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

export function send(method: string, url: string, { headers = {}, body, stalled = false }: SendOptions = {}): Exchange {
  const bytes = body === undefined ? undefined : encode(body);
  const request = url.startsWith("https:") ? httpsRequest : httpRequest;
  const http = request(url, {
    method,
    agent: false,
    headers: { ...(bytes && { "content-type": "application/json", "content-length": bytes.length }), ...headers },
  });
  http.end(bytes);
  return new Exchange(http, stalled);
}

/** Always bytes: before a string body, node:http would send the headers as UTF-8 instead of as they are. */
function encode(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}
