/**
 * What stands in front of a llama-server in the real world, and answers in its place when it is in the mood: an HTTP proxy,
 * a tunnel's edge, a captive portal. Without a mood it hands on what comes.
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { Random } from "./random.ts";

export interface Mood {
  /** One of these, as HTML, in place of the server's answer. */
  readonly statuses?: readonly number[];
  /** The request reaches the server all the same: the answer to a tunnel's timeout. */
  readonly reachesServer?: boolean;
  /** A body is cut after so many bytes. */
  readonly cutAfterBytes?: readonly [least: number, most: number];
}

export class Ingress {
  mood: Mood = {};
  /** Answers given in the server's place, and bodies cut. */
  faults = 0;
  readonly #serverUrl: string;
  readonly #random: Random;
  readonly #server: Server = createServer((http, response) => {
    this.#serve(http, response).catch(() => response.destroy());
  });

  private constructor(serverUrl: string, random: Random) {
    this.#serverUrl = serverUrl;
    this.#random = random;
  }

  static async start(serverUrl: string, random: Random): Promise<Ingress> {
    const ingress = new Ingress(serverUrl, random);
    await new Promise<void>((done) => ingress.#server.listen(0, "127.0.0.1", done));
    return ingress;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What it has open breaks, as when its process is replaced. */
  cutAll(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((done) => this.#server.close(done));
  }

  async #serve(http: IncomingMessage, response: ServerResponse): Promise<void> {
    const { statuses, reachesServer } = this.mood;
    const body = await buffer(http);
    if (!statuses) return this.#relay(http, body, response);
    if (reachesServer) this.#relay(http, body, undefined);
    this.faults += 1;
    const status = statuses[this.#random.between(0, statuses.length - 1)] ?? 502;
    response.writeHead(status, { "content-type": "text/html" }).end(`<html><body>Error ${status}</body></html>`);
  }

  /** Without a `response` nobody gets the answer; the server works on it until it notices. */
  #relay({ method, url, headers }: IncomingMessage, body: Buffer, response: ServerResponse | undefined): void {
    const { "transfer-encoding": _, ...kept } = headers;
    const inner = request(this.#serverUrl + url, {
      method,
      agent: false,
      headers: { ...kept, connection: "close", "content-length": body.length },
    });
    inner.on("error", () => response?.destroy());
    inner.on("response", (answer) => {
      answer.on("error", () => response?.destroy());
      if (response) this.#handOn(answer, response);
      else answer.destroy();
    });
    response?.on("close", () => inner.destroy());
    inner.end(body);
  }

  #handOn(answer: IncomingMessage, response: ServerResponse): void {
    const { "transfer-encoding": _, ...headers } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, headers).flushHeaders();
    let left = Number.POSITIVE_INFINITY;
    answer.on("data", (bytes: Buffer) => {
      // It was cut, and nothing more is wanted of it.
      if (left <= 0) return;
      // Moods change in the middle of answers.
      const { cutAfterBytes } = this.mood;
      if (cutAfterBytes && left === Number.POSITIVE_INFINITY) left = this.#random.between(...cutAfterBytes);
      const part = bytes.subarray(0, left);
      left -= bytes.length;
      response.write(part, () => left <= 0 && response.destroy());
      if (left <= 0) this.faults += 1;
    });
    answer.on("end", () => left > 0 && response.end());
  }
}
