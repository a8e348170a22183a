/**
 * The origin of the fuzz: real generations by the demo origin behind it, or what the request's `fuzz` field asks for.
 *
 *   gateway ──▶ OddOrigin ──script──▶ odd answers, replayed as odd
 *                    └──────no script──▶ demo origin
 *
 * It remembers what it sent for each prompt, which is all that a session of that prompt may ever show, and what it was asked
 * that no gateway may ask.
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { type DemoOrigin, startDemoOrigin } from "../../demo/origin.ts";

export interface Script {
  /** Names the request: no two have the same. */
  prompt: string;
  kind: Kind;
  events: number;
  /** Bytes after which a connection is cut. */
  cutAt: number;
  status: number;
}

/** How each script's session ends; "refused": the POST is not 200, and there is no session. */
export const OUTCOMES = {
  real: "done",
  realCut: "done",
  whole: "done",
  crlf: "done",
  huge: "done",
  errorEvent: "done",
  cut: "done",
  half: "origin_lost",
  forget: "origin_lost",
  ingressReplay: "origin_lost",
  truncate: "origin_truncated",
  silent: "origin_timeout",
  json: "done",
  ownError: "refused",
  html: "refused",
  redirect: "refused",
  oddStatus: "refused",
  noHttp: "refused",
  reset: "refused",
  hugeError: "refused",
} as const;
export type Kind = keyof typeof OUTCOMES;

/** Of the origin, and not for clients. */
export const PRIVATE_HEADERS = { "set-cookie": "a=b", "clear-site-data": '"*"', server: "private", via: "1.1 private" };

const OWN_PATHS =
  /^\/(v1\/(chat\/completions|completions|messages|responses|models|streams\/lookup|stream(\/[0-9a-f-]{36})?)|tokenize|props|models|health)$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class OddOrigin {
  /** What no gateway may ask. */
  readonly violations: string[] = [];
  readonly #server: Server = createServer((http, response) => {
    this.#serve(http, response).catch(() => response.destroy());
  });
  readonly #demo: DemoOrigin;
  /** By the id that the gateway gave the request. */
  readonly #scripts = new Map<string, { script: Script; connections: number }>();
  /** The prompts of real generations, by that id. */
  readonly #prompts = new Map<string, string>();
  /** By prompt, then by that id. */
  readonly #sent = new Map<string, Map<string, Buffer>>();

  private constructor(demo: DemoOrigin) {
    this.#demo = demo;
  }

  static async start(): Promise<OddOrigin> {
    const origin = new OddOrigin(await startDemoOrigin({ slots: 64, paceMs: 1 }));
    await new Promise<void>((done) => origin.#server.listen(0, "127.0.0.1", done));
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
    await this.#demo.close();
  }

  /** What was sent for this prompt, once for each time that it was asked. */
  sentFor(prompt: string): Buffer[] {
    return [...(this.#sent.get(prompt)?.values() ?? [])];
  }

  forget(prompt: string): void {
    for (const id of this.#sent.get(prompt)?.keys() ?? []) {
      this.#scripts.delete(id);
      this.#prompts.delete(id);
    }
    this.#sent.delete(prompt);
  }

  async #serve(http: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(http.url ?? "/", "http://origin");
    const text = (await buffer(http)).toString();
    const id = String(http.headers["x-conversation-id"] ?? "");
    if (!OWN_PATHS.test(url.pathname)) this.violations.push(`asked for ${http.method} ${http.url}`);
    if (http.headers.authorization !== undefined) this.violations.push(`got the key ${http.headers.authorization}`);
    if (id !== "" && !UUID.test(id)) this.violations.push(`got the id ${id}`);
    for (const [name, value] of Object.entries(PRIVATE_HEADERS)) response.setHeader(name, value);
    const asked = url.searchParams.get("conv_id") ?? /"conversation_ids":\["([^"]+)"\]/.exec(text)?.[1];
    const known = this.#scripts.get(asked ?? "");
    const script = scriptIn(url, text);
    if (known) this.#answerAbout(known, asked ?? "", url, http, response);
    else if (script && script.kind !== "real" && script.kind !== "realCut") this.#answer(script, id, http, response);
    else await this.#relay(script, id, text, http, response);
  }

  /** A request that has a script. */
  #answer(script: Script, id: string, http: IncomingMessage, response: ServerResponse): void {
    if (id) this.#scripts.set(id, { script, connections: 1 });
    const { kind, status, prompt } = script;
    switch (kind) {
      case "ownError":
        sendJson(response, status, errorOf(status, prompt));
        break;
      case "hugeError":
        sendJson(response, 500, errorOf(500, "x".repeat(3_000_000)));
        break;
      case "html":
        sendHtml(response, status);
        break;
      case "redirect":
        response.writeHead(307, { location: "http://elsewhere.invalid/" }).end();
        break;
      case "oddStatus":
        http.socket.end(`HTTP/1.1 ${status < 500 ? 101 : 999} What\r\nUpgrade: x\r\n\r\n`);
        break;
      case "noHttp":
        http.socket.end("lorem ipsum\r\n\r\n");
        break;
      case "reset":
        http.socket.resetAndDestroy();
        break;
      case "json": {
        const body = Buffer.from(JSON.stringify({ content: prompt.repeat(script.events) }));
        this.#record(script, id, 0, body);
        response.writeHead(200, { "content-type": "application/json" }).end(body);
        break;
      }
      default:
        this.#stream(script, id, 0, 0, response);
    }
  }

  /** A question about a request that had a script. */
  #answerAbout(
    known: { script: Script; connections: number },
    id: string,
    url: URL,
    http: IncomingMessage,
    response: ServerResponse,
  ): void {
    const { kind, events } = known.script;
    const hasNone = OUTCOMES[kind] === "refused" || kind === "json";
    if (http.method === "DELETE") {
      response.writeHead(204).end();
    } else if (hasNone || (kind === "forget" && http.method === "GET")) {
      sendJson(response, 404, errorOf(404, "File Not Found"));
    } else if (http.method === "POST") {
      // Of bytes that never came the gateway would think that the network had lost them.
      const total_bytes = Math.min(1, known.script.cutAt);
      response.end(JSON.stringify([{ conversation_id: id, is_done: false, total_bytes }]));
    } else if (kind === "ingressReplay") {
      sendHtml(response, [200, 403, 404][events % 3] ?? 200);
    } else {
      this.#stream(known.script, id, Number(url.searchParams.get("from")), known.connections++, response);
    }
  }

  /** The script's events from byte `from` on, as far as this connection brings them. */
  #stream(script: Script, id: string, from: number, connection: number, response: ServerResponse): void {
    const whole = eventsOf(script);
    const isCut =
      ["half", "forget", "ingressReplay", "silent"].includes(script.kind) || (script.kind === "cut" && connection < 2);
    const most = script.kind === "half" && connection > 0 ? 20 : script.cutAt;
    const part = whole.subarray(from, isCut ? from + most : undefined);
    this.#record(script, id, from, part);
    response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    const middle = Math.floor(part.length / 2);
    response.write(part.subarray(0, middle));
    setImmediate(() => {
      response.write(part.subarray(middle), () => {
        if (isCut && script.kind !== "silent") response.destroy();
      });
      if (!isCut) response.end();
    });
  }

  /** To the demo origin, and back. */
  #relay(script: Script | undefined, id: string, body: string, http: IncomingMessage, response: ServerResponse) {
    const { method = "", url = "/" } = http;
    const asked = /conv_id=([^&]*)/.exec(url)?.[1] ?? id;
    const from = Number(/from=(\d+)/.exec(url)?.[1] ?? 0);
    if (script && id) this.#prompts.set(id, script.prompt);
    return new Promise<void>((done, fail) => {
      const headers = { ...(id && { "x-conversation-id": id }), "content-length": Buffer.byteLength(body) };
      const inner = request(this.#demo.url + url, { method, agent: false, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, { "content-type": answer.headers["content-type"] ?? "" });
        let length = 0;
        answer.on("data", (bytes: Buffer) => {
          const prompt = this.#prompts.get(asked);
          if (prompt) this.#record({ prompt }, asked, from + length, bytes);
          length += bytes.length;
          response.write(bytes);
          if (script?.kind === "realCut" && length > script.cutAt) response.destroy();
        });
        answer.on("end", () => done(void response.end()));
        answer.on("error", fail);
      });
      inner.on("error", fail);
      response.on("close", () => inner.destroy());
      inner.end(body);
    });
  }

  #record({ prompt }: Pick<Script, "prompt">, id: string, at: number, bytes: Buffer): void {
    const answers = this.#sent.get(prompt) ?? new Map<string, Buffer>();
    this.#sent.set(prompt, answers);
    const sent = answers.get(id) ?? Buffer.alloc(0);
    answers.set(id, Buffer.concat([sent, bytes.subarray(Math.max(0, sent.length - at))]));
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function sendHtml(response: ServerResponse, status: number): void {
  response.writeHead(status, { "content-type": "text/html" }).end("<html><body>not here</body></html>");
}

/** llama-server's own shape. */
function errorOf(code: number, message: string) {
  return { error: { code, message, type: code < 500 ? "invalid_request_error" : "server_error" } };
}

function eventsOf({ prompt, kind, events }: Script): Buffer {
  const pad = kind === "huge" ? "0123456789".repeat(150_000) : "";
  const texts = Array.from({ length: events }, (_, i) => `data: {"choices":[{"delta":{"content":"${prompt} ${i}"}}]}`);
  const last = {
    errorEvent: ['data: {"error":{"code":500,"message":"as asked","type":"server_error"}}'],
    truncate: [],
  };
  const all = [...texts, ...(pad ? [`data: {"pad":"${pad}"}`] : []), ...(last[kind as "truncate"] ?? ["data: [DONE]"])];
  const separator = kind === "crlf" ? "\r\n\r\n" : "\n\n";
  return Buffer.from(all.map((event) => event + separator).join(""));
}

function scriptIn(url: URL, text: string): Script | undefined {
  const found = url.searchParams.get("fuzz") ?? /"fuzz":(\{[^}]*\})/.exec(text)?.[1];
  return found ? (JSON.parse(found) as Script) : undefined;
}
