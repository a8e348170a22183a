/** A client of the gateway inside workerd: what the tests of the objects say to it. */
import { exports } from "cloudflare:workers";

const BASE = "https://gateway.test";

export interface Options {
  key?: string;
  headers?: Record<string, string>;
  method?: string;
  body?: string;
}

export function call(
  path: string,
  { key = "key-of-alice-for-tests", headers = {}, ...init }: Options = {},
): Promise<Response> {
  return exports.default.fetch(BASE + path, { ...init, headers: { Authorization: `Bearer ${key}`, ...headers } });
}

/** How the demo origin is to behave for this request; see demo/request.ts. */
export type Demo = Record<string, unknown>;

export function chatBody(demo: Demo = {}, fields: Record<string, unknown> = {}): string {
  return JSON.stringify({ messages: [{ role: "user", content: "hi" }], stream: true, seed: 1, demo, ...fields });
}

export function chat(id: string, demo: Demo = {}, options: Options & { fields?: Record<string, unknown> } = {}) {
  const { fields, headers, ...rest } = options;
  return call("/v1/chat/completions", {
    method: "POST",
    body: chatBody(demo, fields),
    headers: { "X-Conversation-Id": id, ...headers },
    ...rest,
  });
}

export function replay(id: string, query = "from=0", options: Options = {}): Promise<Response> {
  return call(`/v1/stream?conv_id=${encodeURIComponent(id)}&${query}`, options);
}

export async function lookup(ids: unknown[], options: Options = {}): Promise<Record<string, unknown>[]> {
  const body = JSON.stringify({ conversation_ids: ids });
  const response = await call("/v1/streams/lookup", { method: "POST", body, ...options });
  return response.json();
}

/** `session` fences the stop. */
export function stop(id: string, { session, ...options }: Options & { session?: string } = {}): Promise<Response> {
  const fence = session === undefined ? "" : `&session=${encodeURIComponent(session)}`;
  return call(`/v1/stream?conv_id=${encodeURIComponent(id)}${fence}`, { method: "DELETE", ...options });
}

/** Reads until `mark` has been seen, and leaves. Returns what was read. */
export async function readUntil(response: Response, mark: string): Promise<string> {
  const decoder = new TextDecoder();
  let seen = "";
  for await (const chunk of response.body ?? []) {
    seen += decoder.decode(chunk, { stream: true });
    if (seen.includes(mark)) return seen;
  }
  throw new Error(`The stream ended without ${mark}: ${seen.slice(-200)}`);
}

/** Polls until `condition` holds. Throws after `deadlineMs`. */
export async function until(what: string, condition: () => Promise<boolean>, deadlineMs = 10_000): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function ended(id: string, end: string): Promise<void> {
  await until(`${id} ends as ${end}`, async () => (await lookup([id]))[0]?.end === end);
}

interface OriginStats {
  generations: number;
  busy_slots: number;
  open_requests: number;
}

/** What the demo origin has to do. Its connections close after a stream, under a fetch that has just taken one. */
export async function originStats(originUrl: string): Promise<OriginStats> {
  const ask = () => fetch(`${originUrl}/demo/stats`);
  return (await ask().catch(ask)).json();
}
