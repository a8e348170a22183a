/** The app's requests as they come, and the answers as it gets them: what SDKs and runtimes disagree about. */

/** A POST that can be sent more than once. */
export interface Repeatable {
  url: string;
  init: InitWithHeaders;
}

export type InitWithHeaders = RequestInit & { headers: Headers };

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
  let body = init.body ?? (request?.body ? await request.arrayBuffer() : null);
  // A stream can be sent once only.
  if (body instanceof ReadableStream) body = await new Response(body).arrayBuffer();
  const signal = init.signal ?? request?.signal ?? null;
  return { url: urlOf(input), init: { ...init, method: "POST", headers: headersOf(input, init), body, signal } };
}

/** The first answer's head with the unbroken body. */
export function answerWith(first: Response, body: ReadableStream<Uint8Array>): Response {
  const headers = new Headers(first.headers);
  // They describe what came over the first connection.
  headers.delete("Content-Length");
  headers.delete("Content-Encoding");
  const head = { status: first.status, statusText: first.statusText, headers };
  const answer = new Response(body, head);
  if (answer.body) return answer;
  // React Native's Response takes no stream: one that has what SDKs use of it.
  const text = () => textOf(body);
  const json = async (): Promise<unknown> => JSON.parse(await text());
  return { ...head, ok: true, url: first.url, body, text, json } as Response;
}

async function textOf(body: ReadableStream<Uint8Array>): Promise<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    if (done) return text;
  }
}
