/**
 * The gateway as `holdfast/client` sees it, in memory and behind a `fetch`: sessions by conversation, joined by key, read from
 * an offset, fenced, stopped, looked up. What befalls a connection is laid out beforehand, one fault for each in turn.
 */
import type { SessionEnd } from "../../../src/protocol.ts";

export type Fault =
  /** Never gets there: `fetch` rejects. */
  | { kind: "refused" }
  /** Gets there, and the answer does not come back: `fetch` rejects (`lost`), or never settles (`silent`). */
  | { kind: "lost" | "silent" }
  /** The body ends after so many bytes of it: by an error, cleanly, or not at all. */
  | { kind: "dropped" | "clean" | "stalled"; after: number }
  /** Something else answers. */
  | { kind: "answer"; response: () => Response };

export interface FakeSession {
  name: string;
  key: string | null;
  body: string;
  bytes: Uint8Array;
  contentType: string;
  end: SessionEnd | null;
}

export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
}

/** How many bytes come in one piece. */
const PIECE_BYTES = 7;

export class FakeGateway {
  readonly url = "http://gateway.example";
  readonly requests: SeenRequest[] = [];
  readonly sessions = new Map<string, FakeSession>();
  faults: Fault[] = [];
  /** Bodies that were not read to their end, nor left. */
  openBodies = 0;
  generations = 0;
  /** Read by clients so far. */
  pieces = 0;
  /** What a new session says, and how it ends. */
  says: { text: string; end: SessionEnd | null; contentType?: string } = { text: "", end: "done" };

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(input));
    const { signal, method = "GET" } = init;
    signal?.throwIfAborted();
    const fault = this.faults.shift();
    const seen = { method, path: url.pathname, query: url.searchParams, headers: new Headers(init.headers) };
    this.requests.push(seen);
    if (fault?.kind === "refused") throw new TypeError("fetch failed");
    if (fault?.kind === "answer") return fault.response();
    const response = this.#answer(seen, String(init.body), fault, signal ?? undefined);
    if (fault?.kind === "lost") throw new TypeError("fetch failed");
    if (fault?.kind === "silent") return await new Promise((_, reject) => onAbort(signal, reject));
    return response;
  };

  get posts(): SeenRequest[] {
    return this.requests.filter(({ method, path }) => method === "POST" && path !== "/v1/streams/lookup");
  }

  get reads(): SeenRequest[] {
    return this.requests.filter(({ method }) => method === "GET");
  }

  #answer({ method, path, query, headers }: SeenRequest, body: string, fault: Fault | undefined, signal?: AbortSignal) {
    if (path === "/v1/streams/lookup") return this.#lookup(body);
    if (path !== "/v1/stream") return this.#post(headers, body, fault, signal);
    const id = query.get("conv_id") ?? "";
    const session = this.sessions.get(id);
    const fence = query.get("session");
    if (session && fence !== null && fence !== session.name) {
      return refusal(409, "conversation_replaced", `Session ${fence} is over`);
    }
    if (method === "DELETE") {
      this.sessions.delete(id);
      return new Response(null, { status: 204 });
    }
    if (!session) return refusal(404, "not_found_error", "No session of this conversation");
    return this.#read(session, Number(query.get("from")), fault, signal);
  }

  #post(headers: Headers, body: string, fault: Fault | undefined, signal?: AbortSignal): Response {
    const id = Buffer.from(headers.get("X-Conversation-Id") ?? "", "latin1").toString();
    const key = headers.get("Idempotency-Key");
    const current = this.sessions.get(id);
    if (current && current.key === key) {
      if (current.body !== body) return refusal(422, "invalid_request_error", "This Idempotency-Key was used");
      return this.#read(current, 0, fault, signal);
    }
    this.generations += 1;
    const { text, end, contentType = "text/event-stream" } = this.says;
    const bytes = new TextEncoder().encode(text);
    const session: FakeSession = { name: `session-${this.generations}`, key, body, bytes, contentType, end };
    this.sessions.set(id, session);
    return this.#read(session, 0, fault, signal);
  }

  #read(session: FakeSession, from: number, fault: Fault | undefined, signal?: AbortSignal): Response {
    const until = fault && "after" in fault ? from + fault.after : Number.POSITIVE_INFINITY;
    let at = from;
    this.openBodies += 1;
    const close = () => {
      this.openBodies -= 1;
    };
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) =>
          onAbort(signal, (reason) => {
            close();
            controller.error(reason);
          }),
        pull: (controller) => {
          const piece = session.bytes.subarray(at, Math.min(at + PIECE_BYTES, until));
          at += piece.length;
          this.pieces += 1;
          if (piece.length > 0) return controller.enqueue(piece);
          const isCut = at >= until;
          if (isCut && fault?.kind === "dropped") return controller.error(new TypeError("terminated"));
          if ((isCut && fault?.kind === "clean") || (!isCut && session.end !== null)) return controller.close();
          return new Promise<void>(() => {});
        },
      },
      { highWaterMark: 0 },
    );
    const headers = { "Content-Type": session.contentType, "Holdfast-Session": session.name };
    return new Response(body, { headers });
  }

  #lookup(body: string): Response {
    const { conversation_ids } = JSON.parse(body) as { conversation_ids: string[] };
    const rows = conversation_ids.flatMap((id) => {
      const session = this.sessions.get(id);
      if (!session) return [];
      const { name, end, bytes } = session;
      return [{ conversation_id: id, session: name, end, is_done: end !== null, total_bytes: bytes.length }];
    });
    return Response.json(rows);
  }
}

export function refusal(status: number, type: string, message: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error: { code: status, message, type } }, { status, headers });
}

function onAbort(signal: AbortSignal | null | undefined, act: (reason: unknown) => void): void {
  signal?.addEventListener("abort", () => act(signal.reason), { once: true });
}
