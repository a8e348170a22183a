import { describe, expect, it } from "vitest";
import { Producer, type ProducerEvents } from "../../src/conversation/producer.ts";
import type { Origin, OriginSession } from "../../src/origin/origin.ts";
import { liveSession, withStorage } from "./live-session.ts";

const ANSWER = 'data: {"n":1}\n\ndata: [DONE]\n\n';
const LIMITS = { reconnectMs: 10_000, originIdleMs: 10_000, maxGenerationMs: 60_000 };
const IGNORE: ProducerEvents = { accepted: () => {}, delivered: () => {}, unheard: () => {} };

/** An origin to which every first connection breaks, and that says these words about the request, the last one for ever. */
function origin(words: OriginSession[]) {
  const asked: string[] = [];
  const fake = {
    asked,
    async generate(_path: string, _body: Uint8Array, id: string) {
      asked.push(id);
      if (asked.length > 1) return new Response(ANSWER, { headers: { "Content-Type": "text/event-stream" } });
      throw new Error("The connection was lost");
    },
    find: async () => (words.length > 1 ? words.shift() : words[0]),
    attach: async () => ({ response: new Response(ANSWER) }),
    stop: async () => "heard",
  };
  return fake as typeof fake & Origin;
}

async function run(name: string, words: OriginSession[]): Promise<{ asked: number; end: string | null }> {
  return await withStorage(name, async (storage) => {
    const at = origin(words);
    const record = { path: "/v1/chat/completions", family: "chat", wantsStream: true, originId: "first" } as const;
    const session = liveSession(storage, { ...record, contentType: undefined });
    const producer = new Producer(session, new TextEncoder().encode("{}"), at, LIMITS, IGNORE);
    await producer.run();
    return { asked: at.asked.length, end: session.record.end };
  });
}

describe("a request whose connection breaks before the answer", () => {
  it("is not sent again when the origin had not listed it yet, and then does", async () => {
    const words: OriginSession[] = [{ state: "unknown" }, { state: "known", totalBytes: 0 }];
    expect(await run("listed late", words)).toEqual({ asked: 1, end: "done" });
  });

  it("is sent again when the origin has said twice that it knows nothing of it", async () => {
    expect(await run("never arrived", [{ state: "unknown" }])).toEqual({ asked: 2, end: "done" });
  });
});
