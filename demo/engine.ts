/**
 * The generating half of the demo origin: one POST, from its body to the end of its generation.
 *
 *     body ─▶ session (the id's old one is replaced) ─▶ checks ─▶ slot ─▶ headers ─▶ events | one JSON
 *
 * A session with a conversation id outlives its client; one without is stopped when the client leaves. A
 * `stream: false` answer runs to its end either way, as in llama-server.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "./dialects.ts";
import { pause, streamAnswer, wholeAnswer } from "./generation.ts";
import type { BegunAnswer, Journal } from "./journal.ts";
import {
  GENERATING_ROUTES,
  type GeneratingRoute,
  type GenerationRequest,
  headersAfterMs,
  parseBody,
  parseRequest,
  Refusal,
  type RequestDefaults,
  refusalAskedFor,
  requirePrompt,
} from "./request.ts";
import { cut, goneSignal, Session, Sessions } from "./session.ts";
import { type Slot, Slots } from "./slots.ts";

export interface EngineOptions extends RequestDefaults {
  slots: number;
  sessionTtlMs: number;
  journal: Journal | undefined;
}

export class Engine {
  generations = 0;
  readonly slots: Slots;
  readonly sessions: Sessions;
  readonly #defaults: RequestDefaults;
  readonly #journal: Journal | undefined;
  readonly #closing = new AbortController();

  constructor(options: EngineOptions) {
    this.#defaults = options;
    this.slots = new Slots(options.slots);
    this.#journal = options.journal;
    this.sessions = new Sessions(options.sessionTtlMs, (key) => this.#journal?.forget(key));
  }

  /** Answers one generating POST. `key` is its conversation id, empty without one. Throws a `Refusal` to be sent. */
  async generate(http: IncomingMessage, response: ServerResponse, path: string, key: string): Promise<void> {
    const route = routeOf(path);
    const body = requirePrompt(route, parseBody(await readBody(http)));
    const session = key ? this.sessions.open(key) : new Session(key);
    const gone = goneSignal(response);
    const stop = () => session.stop();
    const closing = this.#untilClosed();
    closing.addEventListener("abort", stop, { once: true });
    try {
      await pause(headersAfterMs(body), session.stopped);
      const refusal = refusalAskedFor(body);
      if (refusal) throw refusal;
      const request = parseRequest(route, body, this.#defaults);
      if (request.stream && !session.isResumable) onAbort(gone, stop);

      // A queued request with an id keeps its place in the line: it runs even when nobody waits for it any more.
      const slot = await this.slots.take(session.isResumable ? closing : gone);
      if (!slot) return;
      try {
        if (request.stream) await this.#stream(request, path, slot, session, response);
        else await this.#answer(request, route, slot, session, response);
      } finally {
        this.slots.free(slot);
      }
    } finally {
      closing.removeEventListener("abort", stop);
      // What closing the origin cuts is in the journal for the next one.
      if (session.completedAt === 0 && !this.#closing.signal.aborted) this.sessions.forget(session);
      session.ring.close();
    }
  }

  /** Takes up the answers that the journal has, each once. */
  restore(): void {
    for (const answer of this.#journal?.answers ?? []) void this.#goOn(answer);
  }

  stop(): void {
    this.#closing.abort();
  }

  /** A signal for each answer: Node 20 takes more than ten listeners on one for a leak, and warns. */
  #untilClosed(): AbortSignal {
    return AbortSignal.any([this.#closing.signal]);
  }

  async #stream(
    request: GenerationRequest,
    path: string,
    slot: Slot,
    session: Session,
    response: ServerResponse,
  ): Promise<void> {
    startEventStream(response);
    const client = session.attach(response, 0);
    // Stopped while it waited in the line: an empty event stream is all there is to send.
    if (session.stopped.aborted) return;
    this.generations++;
    client.cutAt(request.cutAfterBytes);
    session.startedAt = Date.now();
    const identity = newIdentity(session);
    if (session.isResumable) this.#journal?.remember({ key: session.key, path, request, slotId: slot.id, identity });
    const dialect = routeOf(path).createDialect({ ...request, slotId: slot.id, identity });
    await streamAnswer(request, dialect, slot, session, client);
    if (!session.stopped.aborted) this.sessions.complete(session);
  }

  /** An answer that another process had begun: what is due of it by now is there at once. */
  async #goOn({ key, path, request, slotId, identity }: BegunAnswer): Promise<void> {
    const session = this.sessions.open(key);
    session.startedAt = identity.startedAt;
    const stop = () => session.stop();
    const closing = this.#untilClosed();
    closing.addEventListener("abort", stop, { once: true });
    const slot = await this.slots.take(session.stopped);
    if (!slot) return;
    try {
      const dialect = routeOf(path).createDialect({ ...request, slotId, identity });
      await streamAnswer(request, dialect, slot, session, undefined);
      if (!session.stopped.aborted) this.sessions.complete(session);
    } finally {
      this.slots.free(slot);
      closing.removeEventListener("abort", stop);
      session.ring.close();
    }
  }

  async #answer(
    request: GenerationRequest,
    route: GeneratingRoute,
    slot: Slot,
    session: Session,
    response: ServerResponse,
  ): Promise<void> {
    this.generations++;
    const dialect = route.createDialect({ ...request, slotId: slot.id, identity: newIdentity(session) });
    const hangUntil = AbortSignal.any([session.stopped, goneSignal(response)]);
    const until = request.ending === "hang" ? hangUntil : this.#untilClosed();
    const answer = await wholeAnswer(request, dialect, slot, until);
    if (request.ending === "error") throw new Refusal(500, "Context size has been exceeded.", "server_error");
    const json = Buffer.from(JSON.stringify(answer));
    response.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": json.length });
    if (request.ending === "done" || request.ending === "hang") {
      response.end(json);
    } else {
      response.write(json.subarray(0, json.length / 2));
      cut(response);
    }
  }
}

function newIdentity({ startedAt }: Session): Identity {
  return { startedAt, salt: Math.floor(Math.random() * 2 ** 32) };
}

function routeOf(path: string): GeneratingRoute {
  const route = GENERATING_ROUTES.get(path);
  if (!route) throw new Error(`${path} generates nothing`);
  return route;
}

export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/**
 * The headers of every event stream. As in llama-server they promise Keep-Alive and the connection closes all the
 * same after the last chunk: whoever would pipeline behind it should find that out here.
 */
export function startEventStream(response: ServerResponse): void {
  response.shouldKeepAlive = false;
  response.removeHeader("Connection");
  response.writeHead(200, {
    "X-Accel-Buffering": "no",
    "Content-Type": "text/event-stream",
    "Keep-Alive": "timeout=5, max=100",
  });
  response.flushHeaders();
}

function onAbort(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener("abort", listener, { once: true });
}
