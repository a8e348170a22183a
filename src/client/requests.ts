/** The app's requests as they come, and the answers as it gets them: what SDKs and runtimes disagree about. */

/** A POST that can be sent more than once. */
export interface Repeatable {
  url: string;
  headers: Headers;
  body: RequestInit["body"];
  signal: AbortSignal | undefined;
  /** All of it, for the `fetch` underneath. */
  init: RequestInit;
}

/** By what it has, not by its class: an app's `fetch` may come with a Request of its own. */
function requestIn(input: string | URL | Request): Request | undefined {
  return typeof input === "object" && "method" in input ? input : undefined;
}

export function urlOf(input: string | URL | Request): string {
  return requestIn(input)?.url ?? String(input);
}

export function methodOf(input: string | URL | Request, init: RequestInit | undefined): string {
  return (init?.method ?? requestIn(input)?.method ?? "GET").toUpperCase();
}

export function headersOf(input: string | URL | Request, init: RequestInit | undefined): Headers {
  return new Headers(init?.headers ?? requestIn(input)?.headers);
}

export async function repeatable(input: string | URL | Request, init: RequestInit = {}): Promise<Repeatable> {
  const request = requestIn(input);
  const signal = init.signal ?? request?.signal;
  const headers = headersOf(input, init);
  const given = init.body ?? (request?.body ? await request.arrayBuffer() : null);
  // A stream can be sent once only.
  const body = given instanceof ReadableStream ? await new Response(given).arrayBuffer() : given;
  const all: RequestInit = { ...init, method: "POST", headers, body, signal: signal ?? null };
  return { url: urlOf(input), headers, body, signal, init: all };
}

/** The first answer's head with the unbroken body. */
export function answerWith(first: Response, body: ReadableStream<Uint8Array>): Response {
  const headers = new Headers(first.headers);
  // They describe what came over the first connection.
  for (const name of ["Content-Length", "Content-Encoding"]) headers.delete(name);
  const { status, statusText, url } = first;
  const answer = new Response(body, { status, statusText, headers });
  if (answer.body) return answer;
  // React Native's Response takes no stream: one that has what SDKs use of it.
  const text = () => textOf(body);
  const json = async (): Promise<unknown> => JSON.parse(await text());
  return { ok: true, status, statusText, url, headers, body, text, json } as Response;
}

async function textOf(body: ReadableStream<Uint8Array>): Promise<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    text += decoder.decode(read.value, { stream: true });
  }
  return text + decoder.decode();
}
