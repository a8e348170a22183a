/** The Worker: what Cloudflare starts. Routes live in app.ts, the Durable Object in conversation/. */
import { app } from "./app.ts";

export { Conversation } from "./conversation/conversation.ts";
export default { fetch: app.fetch };
