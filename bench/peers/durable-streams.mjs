/**
 * @durable-streams/server with its files in a folder. POST starts an answer and is told at once; readers then follow the
 * stream itself, over HTTP. The origin's bytes go into the server's store directly, chunk by chunk: through its HTTP
 * interface, as its client would append them, 5,000 events a second are far more than it can take.
 *
 *   node durable-streams.mjs PORT ORIGIN FOLDER     the streams are on PORT + 1
 */
import { createServer } from "node:http";
import { DurableStreamTestServer } from "@durable-streams/server";

const [port, origin, dataDir] = process.argv.slice(2);
const server = new DurableStreamTestServer({ port: Number(port) + 1, host: "127.0.0.1", dataDir, compression: false });
await server.start();
const { store } = server;

createServer(async (request, response) => {
  const id = request.headers["x-conversation-id"];
  if (!id) return response.writeHead(400).end();
  const body = await bodyOf(request);
  const path = `/${id}`;
  await store.create(path, { contentType: "text/plain" });
  response.writeHead(201).end();
  const answer = await fetch(origin + request.url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });
  for await (const chunk of answer.body) await store.append(path, chunk);
  store.closeStream(path);
}).listen(Number(port), "127.0.0.1", () => process.send?.({ id: 0, value: "ready" }));

async function bodyOf(request) {
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  return body;
}

process.on("disconnect", () => process.exit());
