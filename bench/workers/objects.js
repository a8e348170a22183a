/**
 * A Worker and a Durable Object that hand the same stream on, and nothing else: no key, no second reader, no storage. What
 * a gateway with an object a conversation costs before it does anything, by how its bytes go through it.
 */
import { DurableObject } from "cloudflare:workers";

export default {
  fetch(request, env) {
    return env.CONVERSATION.getByName(request.headers.get("X-Conversation-Id")).fetch(request);
  },
};

/** The floor: the runtime passes the bytes on, no JavaScript sees them. */
export class Floor extends DurableObject {
  async fetch(request) {
    const answer = await ask(this.env, request);
    return new Response(answer.body, answer);
  }
}

/**
 * Every chunk is seen by JavaScript before the client gets it, which a log of whole events needs: read into one buffer,
 * put into a list, handed to a client that pulls. The list is all the log there is.
 */
export class JsLane extends DurableObject {
  async fetch(request) {
    const answer = await ask(this.env, request);
    const chunks = [];
    let isOver = false;
    let wake = () => {};
    const log = async () => {
      await read(answer.body, 0, (chunk) => {
        chunks.push(chunk);
        wake();
      });
      isOver = true;
      wake();
    };
    this.ctx.waitUntil(log());
    let next = 0;
    const serve = (controller) => {
      const isServed = isOver || next < chunks.length;
      while (next < chunks.length) controller.enqueue(chunks[next++]);
      if (isOver) controller.close();
      return isServed;
    };
    const pull = (controller) => {
      if (serve(controller)) return undefined;
      return new Promise((resolve) => {
        wake = () => {
          wake = () => {};
          serve(controller);
          resolve();
        };
      });
    };
    return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), answer);
  }
}

/**
 * The client's bytes are the runtime's affair, JavaScript sees each of them in a copy: the cheapest way for both to see
 * every chunk at once, and one crossing in place of two.
 */
export class TappedLane extends DurableObject {
  /** Between two looks at the copy. */
  pauseMs = 0;

  async fetch(request) {
    const answer = await ask(this.env, request);
    const [client, log] = answer.body.tee();
    const chunks = [];
    this.ctx.waitUntil(read(log, this.pauseMs, (chunk) => chunks.push(chunk)));
    return new Response(client, answer);
  }
}

/** The same with a look at the copy four times a second. */
export class NativeLane extends TappedLane {
  pauseMs = 250;
}

async function ask(env, request) {
  const { method, headers, url } = request;
  return await fetch(env.ORIGIN_URL + new URL(url).pathname, {
    method,
    headers: { "Content-Type": headers.get("Content-Type") },
    body: await request.arrayBuffer(),
  });
}

async function read(body, pauseMs, take) {
  const reader = body.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(16_384);
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) return;
    take(value.slice());
    buffer = value.buffer;
    if (pauseMs > 0) await scheduler.wait(pauseMs);
  }
}
