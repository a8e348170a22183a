/** An origin that says what a test wrote for it: thinking, pictures and markdown, which the tiny models of the tests do not do. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export interface ScriptedAnswer {
  thinking?: string;
  text: string;
  /** Between two pieces of the text. */
  paceMs?: number;
  /** Ends without its last event. */
  isCut?: boolean;
}

export interface AskedMessage {
  role: string;
  content: string | { type: string; text?: string; image_url?: { url: string } }[];
}

export interface ScriptedOrigin {
  url: string;
  isReal: false;
  /** What it was asked, in order. */
  asked: { model?: string; messages: AskedMessage[] }[];
  kill(): Promise<void>;
}

/** `answers`: the last question's text → what is answered. */
export async function startScriptedOrigin(
  answers: (question: string) => ScriptedAnswer,
  models: readonly string[] = ["reef-9b"],
): Promise<ScriptedOrigin> {
  const asked: ScriptedOrigin["asked"] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://origin");
    if (pathname === "/health") return json(response, { status: "ok" });
    if (pathname === "/v1/models") return json(response, { object: "list", data: models.map((id) => ({ id })) });
    if (pathname === "/props") return json(response, { modalities: { vision: true, audio: false } });
    if (pathname !== "/v1/chat/completions")
      return json(response, { error: { code: 404, message: "no", type: "not_found_error" } }, 404);
    void answer(request, response, asked, answers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    isReal: false,
    asked,
    async kill() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  asked: ScriptedOrigin["asked"],
  answers: (question: string) => ScriptedAnswer,
): Promise<void> {
  const body: ScriptedOrigin["asked"][number] = JSON.parse(Buffer.concat(await request.toArray()).toString());
  asked.push(body);
  const { thinking = "", text, paceMs = 0, isCut = false } = answers(textOf(body.messages.at(-1)));
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const say = async (delta: Record<string, string>) => {
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`);
    if (paceMs > 0) await sleep(paceMs);
  };
  for (const piece of pieces(thinking)) await say({ reasoning_content: piece });
  for (const piece of pieces(text)) await say({ content: piece });
  if (isCut) return void response.end();
  const timings = { prompt_n: JSON.stringify(body.messages).length, predicted_n: pieces(text).length, cache_n: 0 };
  response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }], timings })}\n\n`);
  response.end("data: [DONE]\n\n");
}

function textOf(message: AskedMessage | undefined): string {
  if (typeof message?.content === "string") return message.content;
  return message?.content.find(({ type }) => type === "text")?.text ?? "";
}

function pieces(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? [];
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}
