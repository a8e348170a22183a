/** The Worker: what Cloudflare starts. Routes live in app.ts, the Durable Object in conversation/. */
import { app } from "./app.ts";

export { Conversation } from "./conversation/conversation.ts";
export default {
  fetch: app.fetch,
  // CONNECT: without a handler each one is an exception in the log, whoever sends it.
  connect: (socket: Socket) => socket.close(),
};
