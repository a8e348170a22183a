/**
 * The embedded demo origin: a small look-alike of llama-server 0.7.0, for `npm start` on a machine without one and
 * for the tests. It speaks the generating routes and the resumable streams of `wire-contract.md`; its "model" is a
 * handful of sentences about the sea.
 *
 *     POST ─▶ engine ─▶ slot ─▶ generation ─▶ ring ─▶ reader ─▶ POST client
 *                                                 └─▶ reader ─▶ GET /v1/stream clients
 *
 * Where it differs from the real server it does better on purpose: a client that stalls does not stall the others,
 * and the end of a `stream: false` answer forgets only its own session.
 *
 * A request body may steer its own generation with a `demo` field (see `request.ts`). Nothing here is meant to face
 * a network: it listens on 127.0.0.1 only.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { DEMO_MODEL } from "./dialects.ts";
import { Engine, readBody, startEventStream } from "./engine.ts";
import { Journal } from "./journal.ts";
import { conversationKey, keyOf, parseFrom, percentDecode, queryValue, textOf } from "./names.ts";
import { CONTEXT_TOKENS, GENERATING_ROUTES, isJson, type Json, parseBody, Refusal } from "./request.ts";
import { detokenize, tokenize, VOCABULARY_SIZE } from "./sea.ts";

export interface DemoOriginOptions {
  /** 0: any free one. */
  port?: number;
  /** One key, or several with commas between them. */
  apiKey?: string;
  slots?: number;
  /** Between two tokens. */
  paceMs?: number;
  /** "Prompt processing": headers go out as soon as a slot takes the request, then silence for this long. */
  firstTokenMs?: number;
  /** False: a llama-server from before resumable streams. A client that leaves aborts its generation. */
  replay?: boolean;
  /** The generation before 0.7.0: `/v1/stream/<id>` only. */
  pathFormOnly?: boolean;
  pingIntervalMs?: number;
  sessionTtlMs?: number;
  defaultMaxTokens?: number;
  /** What it lists as its model, and the answers do not say. */
  model?: string;
  /** A file that brings this origin's answers, and its port, back after a restart: see journal.ts. */
  journal?: string;
}

export interface DemoOrigin {
  readonly url: string;
  readonly port: number;
  /** Generations ever started. */
  readonly generations: number;
  /** Slots generating now. */
  busySlots(): number;
  /** Requests not answered to the end yet, `/demo/stats` not counted. */
  readonly openRequests: number;
  /** Cuts every connection and stops every generation. */
  close(): Promise<void>;
}

export async function startDemoOrigin(options: DemoOriginOptions = {}): Promise<DemoOrigin> {
  const journal = options.journal === undefined ? undefined : new Journal(options.journal);
  const origin = new Origin(options, journal);
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => origin.handle(request, response));
  await listen(server, options.port ?? 0, journal?.port);
  origin.engine.restore();
  const { port } = server.address() as AddressInfo;
  journal?.listensOn(port);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get generations() {
      return origin.engine.generations;
    },
    busySlots: () => origin.engine.slots.busy,
    get openRequests() {
      return origin.openRequests;
    },
    async close() {
      // The connections first: a client must see them break, not a stopped generation's clean end.
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      origin.engine.stop();
      await closed;
    },
  };
}

/** On the port of before, where there was one and it is free. */
async function listen(server: Server, port: number, before: number | undefined): Promise<void> {
  try {
    await once(server.listen(port || (before ?? 0), "127.0.0.1"), "listening");
  } catch (error) {
    if (port !== 0 || before === undefined) throw error;
    await once(server.listen(0, "127.0.0.1"), "listening");
  }
}

/** llama-server refuses a longer header line. */
const HEADER_LINE_BYTES = 8 * 1024;

/** How many requests `/demo/stats` remembers. */
const REMEMBERED_REQUESTS = 1000;

const PUBLIC_PATHS = new Set(["/", "/health", "/v1/health", "/demo/stats"]);

const NOT_FOUND = new Refusal(404, "File Not Found", "not_found_error");
const INVALID_KEY = new Refusal(401, "Invalid API Key", "authentication_error");

/** One request, and where its answer goes. */
interface Call {
  http: IncomingMessage;
  response: ServerResponse;
  path: string;
  query: string;
}

class Origin {
  openRequests = 0;
  readonly engine: Engine;
  readonly #replay: boolean;
  readonly #pathFormOnly: boolean;
  readonly #model: string;
  readonly #keys: readonly string[] | undefined;
  readonly #seen: Array<{ method: string; url: string; conversation_id: string | null }> = [];

  constructor(options: DemoOriginOptions, journal: Journal | undefined) {
    this.#replay = options.replay ?? true;
    this.#pathFormOnly = options.pathFormOnly ?? false;
    this.#model = options.model ?? DEMO_MODEL;
    this.#keys = options.apiKey?.split(",");
    this.engine = new Engine({
      slots: options.slots ?? 4,
      maxTokens: options.defaultMaxTokens ?? 200,
      paceMs: options.paceMs ?? 20,
      firstTokenMs: options.firstTokenMs ?? 0,
      pingIntervalMs: options.pingIntervalMs ?? 30_000,
      sessionTtlMs: options.sessionTtlMs ?? 300_000,
      journal,
    });
  }

  async handle(http: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "", query = ""] = (http.url ?? "").split(/\?(.*)/s);
    response.sendDate = false;
    if (path !== "/demo/stats") this.#remember(http, response);
    try {
      await this.#route({ http, response, path, query });
    } catch (error) {
      // The client left in the middle of its own request: nobody is left to tell.
      if (http.destroyed && !http.complete) return;
      if (!(error instanceof Refusal)) console.error("The demo origin failed to answer", http.method, http.url, error);
      sendRefusal(response, error instanceof Refusal ? error : new Refusal(500, String(error), "server_error"));
    }
  }

  async #route(call: Call): Promise<void> {
    const { http, response, path } = call;
    if (http.rawHeaders.some((line) => line.length >= HEADER_LINE_BYTES)) {
      response.writeHead(400, { "Content-Length": 0, Connection: "close" }).end();
      return;
    }
    response.setHeader("Server", "llama.cpp");
    response.setHeader("Access-Control-Allow-Origin", http.headers.origin ?? "");
    if (http.method === "OPTIONS") return sendPreflight(response);
    if (!this.#isAllowed(http, path)) throw INVALID_KEY;

    if (http.method === "POST" && GENERATING_ROUTES.has(path)) {
      return this.engine.generate(http, response, path, this.#replay ? conversationKey(http) : "");
    }
    if (this.#replay) {
      const key = this.#streamKey(call);
      if (key !== undefined && (http.method === "GET" || http.method === "HEAD")) return this.#readStream(call, key);
      if (key !== undefined && http.method === "DELETE") return this.#stopStream(response, key);
      if (http.method === "POST" && path === "/v1/streams/lookup") return this.#lookup(call);
    }
    switch (`${http.method} ${path}`) {
      case "GET /health":
      case "GET /v1/health":
        return sendJson(response, { status: "ok" });
      case "GET /models":
      case "GET /v1/models":
        return sendJson(response, models(this.#model));
      case "GET /props":
        return sendJson(response, this.#props());
      case "GET /slots":
        return sendJson(response, this.#slots());
      case "POST /tokenize":
        return sendJson(response, { tokens: tokenize(String((await readJson(http)).content ?? "")) });
      case "POST /detokenize":
        return sendJson(response, { content: detokenize((await readJson(http)).tokens as number[]) });
      case "POST /apply-template":
        return sendJson(response, applyTemplate(await readJson(http)));
      case "GET /demo/stats":
        return sendJson(response, this.#stats());
      default:
        throw NOT_FOUND;
    }
  }

  #remember(http: IncomingMessage, response: ServerResponse): void {
    this.openRequests++;
    response.once("close", () => this.openRequests--);
    const key = conversationKey(http);
    this.#seen.push({ method: http.method ?? "", url: http.url ?? "", conversation_id: key ? textOf(key) : null });
    if (this.#seen.length > REMEMBERED_REQUESTS) this.#seen.shift();
  }

  /** A wrong `Authorization` is not made good by a right `X-Api-Key`. */
  #isAllowed({ headers }: IncomingMessage, path: string): boolean {
    if (!this.#keys || PUBLIC_PATHS.has(path)) return true;
    const given = headers.authorization ?? headers["x-api-key"];
    return this.#keys.includes(String(given).replace(/^Bearer /, ""));
  }

  /** The id that a `/v1/stream` request names, empty if it names none; undefined if it is no such request. */
  #streamKey({ path, query }: Call): string | undefined {
    if (!this.#pathFormOnly) return path === "/v1/stream" ? (queryValue(query, "conv_id") ?? "") : undefined;
    const segment = path.match(/^\/v1\/stream\/([^/]+)$/)?.[1];
    return segment === undefined ? undefined : percentDecode(segment);
  }

  #readStream({ http, response, query }: Call, key: string): void {
    if (key === "") throw new Refusal(400, "Missing conversation id in path");
    const session = this.engine.sessions.get(key);
    if (!session) throw NOT_FOUND;
    const from = parseFrom(queryValue(query, "from"));
    if (from === undefined) throw new Refusal(400, "Invalid 'from' offset");
    if (from < session.ring.start) throw new Refusal(400, "Stream offset lost, please restart");
    if (http.method === "HEAD") response.setHeader("Accept-Ranges", "bytes");
    startEventStream(response);
    if (http.method === "HEAD") response.end();
    else session.attach(response, from);
  }

  #stopStream(response: ServerResponse, key: string): void {
    if (key === "") throw new Refusal(400, "Missing conversation id in path");
    const session = this.engine.sessions.get(key);
    if (session) {
      this.engine.sessions.forget(session);
      session.stop();
    }
    response.writeHead(204, { "Content-Type": "application/json" }).end();
  }

  async #lookup({ http, response }: Call): Promise<void> {
    let body: unknown;
    try {
      body = parseBody(await readBody(http));
    } catch (error) {
      const message = `invalid body: ${(error as Error).message}`;
      return sendJson(response, { error: { message, type: "invalid_request_error" } }, 400);
    }
    const asked = isJson(body) && Array.isArray(body.conversation_ids) ? body.conversation_ids : [];
    const ids = asked.filter((id): id is string => typeof id === "string" && id !== "");
    const rows = ids.flatMap((id) => this.engine.sessions.matching(keyOf(id)));
    sendJson(
      response,
      rows.map(({ key, ring, startedAt, completedAt }) => ({
        conversation_id: textOf(key),
        is_done: completedAt > 0,
        total_bytes: ring.end,
        started_at: Math.floor(startedAt / 1000),
        completed_at: Math.floor(completedAt / 1000),
      })),
    );
  }

  #slots(): Json[] {
    return this.engine.slots.all.map(({ id, busy, decoded }) => ({
      id,
      n_ctx: CONTEXT_TOKENS,
      speculative: false,
      is_processing: busy,
      next_token: [{ has_next_token: busy, has_new_line: false, n_remain: -1, n_decoded: decoded }],
    }));
  }

  #props(): Json {
    return {
      default_generation_settings: { params: {}, n_ctx: CONTEXT_TOKENS },
      total_slots: this.engine.slots.all.length,
      model_alias: DEMO_MODEL,
      model_path: "embedded",
      modalities: { vision: false, video: false, audio: false },
      endpoint_slots: true,
      endpoint_props: false,
      endpoint_metrics: false,
      chat_template: "",
      bos_token: "<s>",
      eos_token: "</s>",
      build_info: "demo-origin",
      is_sleeping: false,
    };
  }

  #stats(): Json {
    return {
      generations: this.engine.generations,
      busy_slots: this.engine.slots.busy,
      open_requests: this.openRequests,
      queued: this.engine.slots.queued,
      requests: this.#seen,
    };
  }
}

function models(name: string): Json {
  const meta = { vocab_type: 1, n_vocab: VOCABULARY_SIZE, n_ctx: CONTEXT_TOKENS, n_ctx_train: CONTEXT_TOKENS };
  const created = Math.floor(Date.now() / 1000);
  const model = { id: name, aliases: [name], object: "model", created, owned_by: "llamacpp", meta };
  const details = { name, model: name, type: "model", capabilities: ["completion"] };
  return { models: [details], object: "list", data: [model] };
}

function applyTemplate(body: Json): Json {
  const messages = Array.isArray(body.messages) ? body.messages.filter(isJson) : [];
  const lines = messages.map(({ role, content }) => `${role}: ${content}\n`);
  return { prompt: `${lines.join("")}assistant:\n` };
}

async function readJson(http: IncomingMessage): Promise<Json> {
  const body = parseBody(await readBody(http));
  return isJson(body) ? body : {};
}

function sendJson(response: ServerResponse, json: unknown, status = 200): void {
  const body = Buffer.from(JSON.stringify(json));
  const headers = { "Content-Type": "application/json; charset=utf-8", "Content-Length": body.length };
  if (status >= 400) response.setHeader("Connection", "close");
  response.writeHead(status, headers).end(body);
}

function sendRefusal(response: ServerResponse, { status, message, type, more }: Refusal): void {
  sendJson(response, { error: { code: status, message, type, ...more } }, status);
}

function sendPreflight(response: ServerResponse): void {
  response
    .writeHead(200, {
      "Access-Control-Allow-Credentials": "true",
      "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
      "Access-Control-Allow-Headers": "*",
      "Content-Type": "text/html",
      "Content-Length": 0,
    })
    .end();
}
