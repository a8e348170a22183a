/**
 * resumable-stream as its README shows it: POST makes a resumable stream of the origin's answer, GET follows it along.
 * Redis carries what a second reader gets; the answer itself is kept in this process, until it is over.
 *
 *   node resumable-stream.mjs PORT ORIGIN     REDIS_URL in the environment
 */
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { createResumableStreamContext } from "resumable-stream";

const [port, origin] = process.argv.slice(2);
const streams = createResumableStreamContext({ waitUntil: null });

createServer(async (request, response) => {
  const { method } = request;
  const id = request.headers["x-conversation-id"];
  if (!id) return response.writeHead(400).end();
  const stream =
    method === "POST"
      ? await streams.createNewResumableStream(id, askOrigin(request.url, await bodyOf(request)))
      : await streams.resumeExistingStream(id);
  if (!stream) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const readable = Readable.fromWeb(stream);
  // The client that leaves: what it was to get is dropped, the stream itself goes on.
  readable.on("error", () => response.destroy());
  response.on("error", () => {});
  readable.pipe(response);
}).listen(Number(port), "127.0.0.1", () => process.send?.({ id: 0, value: "ready" }));

function askOrigin(path, body) {
  const { readable, writable } = new TextDecoderStream();
  fetch(origin + path, { method: "POST", headers: { "Content-Type": "application/json" }, body })
    .then((answer) => answer.body.pipeTo(writable))
    .catch((error) => writable.abort(error).catch(() => {}));
  return () => readable;
}

async function bodyOf(request) {
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  return body;
}

process.on("disconnect", () => process.exit());
