/**
 * The origin of the benchmark, a process of its own: as fast as Node allows, and no more of a llama-server than the
 * contestants need. Any POST is answered with the stream that its first message asks for, in JSON (a gateway may drop
 * fields that it does not know, but not what the user says):
 *
 *   {"events": 500, "rate": 50}   500 events, 50 a second; without `rate` one event a turn of the event loop, as fast as
 *                                 the other side takes them
 *
 * Asked for a replay it says 404, as an origin that knows nothing of it. Answers `{do: "sent"}` over IPC with the
 * number of events written so far.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Answer } from "./contestants.ts";
import { DONE, nowMicros, writeEvent } from "./event.ts";

const MAX_BODY_CHARS = 1_000_000;

interface Paced {
  readonly response: ServerResponse;
  readonly events: number;
  readonly every: number;
  due: number;
  next: number;
}

let sent = 0;
const paced = new Set<Paced>();
let tick: NodeJS.Timeout | undefined;

const server = createServer((request, response) => {
  response.sendDate = false;
  // Contestants are killed in the middle of things.
  response.on("error", () => {});
  answer(request, response).catch((error: unknown) => {
    if (!request.complete) return;
    response.writeHead(400, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: { code: 400, message: String(error) } }));
  });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "POST" || request.url?.startsWith("/v1/stream")) {
    const isHealth = request.method === "GET" && request.url?.endsWith("/health");
    response.writeHead(isHealth ? 200 : 404, { "Content-Type": "application/json" });
    response.end(isHealth ? '{"status":"ok"}' : '{"error":{"code":404,"message":"File Not Found"}}');
    return;
  }
  let body = "";
  for await (const part of request.setEncoding("utf8")) {
    // Of a body that is too large for a question the rest is only read: this process must not be what is slow.
    if (body.length <= MAX_BODY_CHARS) body += part;
  }
  if (body.length > MAX_BODY_CHARS) throw new Error("too large");
  const { messages } = JSON.parse(body) as { messages: [{ content: string }] };
  const { events, rate } = JSON.parse(messages[0].content) as Answer;
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  if (rate === undefined) sendUnpaced(response, events);
  else sendPaced(response, events, rate);
}

/** One write an event and one event a turn, so that they leave as single events for as long as the other side keeps up. */
function sendUnpaced(response: ServerResponse, events: number): void {
  let next = 0;
  const send = () => {
    if (response.destroyed) return;
    if (next === events) {
      response.end(DONE);
      return;
    }
    sent++;
    if (response.write(writeEvent(next++))) setImmediate(send);
    else response.once("drain", send);
  };
  send();
}

/** All paced answers hang on one timer: a timer each would be most of this process's work. */
function sendPaced(response: ServerResponse, events: number, rate: number): void {
  const every = 1e6 / rate;
  const stream: Paced = { response, events, every, due: nowMicros() + every, next: 1 };
  sent++;
  response.write(writeEvent(0));
  paced.add(stream);
  response.once("close", () => paced.delete(stream));
  tick ??= setInterval(sendDue, 1);
}

function sendDue(): void {
  const now = nowMicros();
  for (const stream of paced) {
    while (stream.due <= now) {
      if (stream.next === stream.events) {
        paced.delete(stream);
        stream.response.end(DONE);
        break;
      }
      sent++;
      stream.response.write(writeEvent(stream.next++));
      stream.due += stream.every;
    }
  }
  if (paced.size > 0) return;
  clearInterval(tick);
  tick = undefined;
}

process.on("message", (message: { id: number }) => {
  process.send?.({ id: message.id, value: sent });
});
process.on("disconnect", () => process.exit());
server.listen(0, "127.0.0.1", () => {
  process.send?.({ id: 0, value: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
