/**
 * The floor: a Worker and a Durable Object that hand the same stream on, and nothing else. No log, no key, no second
 * reader: what a gateway with an object a conversation costs before it does anything.
 */
import { DurableObject } from "cloudflare:workers";

export default {
  fetch(request, env) {
    return env.CONVERSATION.getByName(request.headers.get("X-Conversation-Id")).fetch(request);
  },
};

export class Conversation extends DurableObject {
  async fetch(request) {
    const { method, headers, url } = request;
    const answer = await fetch(this.env.ORIGIN_URL + new URL(url).pathname, {
      method,
      headers: { "Content-Type": headers.get("Content-Type") },
      body: await request.arrayBuffer(),
    });
    return new Response(answer.body, answer);
  }
}
