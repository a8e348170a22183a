/** The Worker: what Cloudflare starts. Routes live in app.ts, the Durable Objects in conversation/ and tenant/. */
import { app } from "./app.ts";

export { Conversation } from "./conversation/conversation.ts";
export { Directory } from "./tenant/directory.ts";
export { Tenant } from "./tenant/tenant.ts";
export default {
  fetch: app.fetch,
  // CONNECT: without a handler each one is an exception in the log, whoever sends it.
  connect: (socket: Socket) => socket.close(),
};
