import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AnswerState,
  createResumingFetch,
  HoldfastError,
  type ResumeStorage,
  type ResumingFetchOptions,
} from "../../../src/client/index.ts";
import { FakeGateway, type Fault, refusal } from "./fake-gateway.ts";

const WORDS = Array.from({ length: 12 }, (_, index) => `data: {"text":"wörd ${index}"}\n\n`).join("");
const ANSWER = `${WORDS}data: [DONE]\n\n`;
const BODY = JSON.stringify({ stream: true, messages: [] });

let gateway: FakeGateway;
let states: AnswerState[];

beforeEach(() => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  gateway.says = { text: ANSWER, end: "done" };
  states = [];
});

afterEach(() => {
  // Whatever happened, nothing ticks on, and no connection stays open.
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function resumingFetch(options: Partial<ResumingFetchOptions> = {}) {
  return createResumingFetch({
    url: gateway.url,
    apiKey: "key",
    conversationId: "c1",
    fetch: gateway.fetch,
    onState: (state) => states.push(state),
    ...options,
  });
}

const CHAT = () => `${gateway.url}/v1/chat/completions`;
const ask = (fetch: ReturnType<typeof resumingFetch>, init: RequestInit = {}, body = BODY) =>
  settled(fetch(CHAT(), { method: "POST", body, ...init }));
const text = (response: Response) => settled(response.text());

/** The promise's value; meanwhile time passes in small steps. */
async function settled<Value>(promise: Promise<Value>): Promise<Value> {
  let isSettled = false;
  const note = () => {
    isSettled = true;
  };
  promise.then(note, note);
  while (!isSettled) await vi.advanceTimersByTimeAsync(50);
  return await promise;
}

const ended = () => states.filter(({ name }) => name === "ended");

describe("an answer", () => {
  it("without trouble is what the gateway said, on one connection", async () => {
    const response = await ask(resumingFetch());
    expect(await text(response)).toBe(ANSWER);
    expect(gateway.requests.length).toBe(1);
    expect(gateway.posts[0]?.headers.get("Authorization")).toBe("Bearer key");
    expect(states.map(({ name }) => name)).toEqual(["live", "ended"]);
    expect(states.at(-1)).toMatchObject({
      how: "done",
      session: "session-1",
      offset: gateway.sessions.get("c1")?.bytes.length,
    });
  });

  it.each(["dropped", "clean", "stalled"] as const)("is whole however often its connection is %s", async (kind) => {
    for (let after = 1; after < 40; after += 3) {
      gateway.sessions.clear();
      gateway.faults = Array.from({ length: 200 }, (): Fault => ({ kind, after }));
      const response = await ask(resumingFetch({ stallMs: 100 }));
      expect(await text(response)).toBe(ANSWER);
    }
    expect(gateway.generations).toBe(13);
    expect(gateway.openBodies).toBe(0);
  });

  it("goes on at the exact byte, with the session's fence", async () => {
    gateway.faults = [{ kind: "dropped", after: 30 }];
    expect(await text(await ask(resumingFetch()))).toBe(ANSWER);
    expect(Object.fromEntries(gateway.reads[0]?.query ?? [])).toEqual({
      conv_id: "c1",
      session: "session-1",
      from: "30",
    });
  });

  it("belongs to a conversation whose id may be any text", async () => {
    gateway.faults = [{ kind: "dropped", after: 30 }];
    await text(await ask(resumingFetch({ conversationId: () => "Anker ⚓" })));
    const header = gateway.posts[0]?.headers.get("X-Conversation-Id") ?? "";
    expect(Buffer.from(header, "latin1").toString()).toBe("Anker ⚓");
    expect(gateway.reads[0]?.query.get("conv_id")).toBe("Anker ⚓");
  });

  it("may be told its conversation by the request, whatever its bytes", async () => {
    gateway.faults = [{ kind: "dropped", after: 30 }];
    const header = Buffer.from("voilà").toString("latin1");
    await text(await ask(resumingFetch(), { headers: { "X-Conversation-Id": header } }));
    expect(gateway.posts[0]?.headers.get("X-Conversation-Id")).toBe(header);
    expect(gateway.reads[0]?.query.get("conv_id")).toBe("voilà");
  });

  it("whose first connection is cut before its headers is joined, not asked twice", async () => {
    gateway.faults = [{ kind: "lost" }, { kind: "lost" }];
    expect(await text(await ask(resumingFetch()))).toBe(ANSWER);
    expect(gateway.generations).toBe(1);
    expect(gateway.posts.length).toBe(3);
    expect(new Set(gateway.posts.map(({ headers }) => headers.get("Idempotency-Key"))).size).toBe(1);
  });

  it("is joined, too, when the SDK has given up and tries again by itself", async () => {
    gateway.faults = [{ kind: "lost" }];
    const fetch = resumingFetch({ giveUpAfterMs: 0 });
    await expect(ask(fetch)).rejects.toMatchObject({ code: "unreachable" });
    const retry = await ask(fetch, { headers: { "X-Stainless-Retry-Count": "1" } });
    expect(await text(retry)).toBe(ANSWER);
    expect(gateway.generations).toBe(1);
    expect(gateway.posts.map(({ headers }) => headers.get("X-Stainless-Retry-Count"))).toEqual([null, null]);
  });

  it("carries the key of the options and no other", async () => {
    await text(await ask(resumingFetch(), { headers: { "X-Api-Key": "in the SDK", Authorization: "Bearer too" } }));
    const headers = gateway.posts[0]?.headers;
    expect([headers?.get("X-Api-Key"), headers?.get("Authorization")]).toEqual([null, "Bearer key"]);
  });

  it("without a key in the options is resumed with the credentials of its request", async () => {
    gateway.faults = [{ kind: "dropped", after: 30 }];
    await text(await ask(resumingFetch({ apiKey: undefined }), { headers: { "X-Api-Key": "in the SDK" } }));
    expect(gateway.reads[0]?.headers.get("X-Api-Key")).toBe("in the SDK");
  });

  it("whose connections bring nothing is not asked for without a pause", async () => {
    gateway.faults = [
      { kind: "dropped", after: 30 },
      ...Array.from({ length: 10 }, (): Fault => ({ kind: "clean", after: 0 })),
    ];
    const begun = Date.now();
    expect(await text(await ask(resumingFetch()))).toBe(ANSWER);
    expect(Date.now() - begun).toBeGreaterThan((250 + 500 + 1_000 + 2_000) / 2);
  });

  it("whose first request gets no answer at all is asked for again, and joined", async () => {
    gateway.faults = [{ kind: "silent" }];
    expect(await text(await ask(resumingFetch({ answerMs: 1_000 })))).toBe(ANSWER);
    expect(gateway.generations).toBe(1);
  });

  it("that the gateway refuses is the refusal, word for word", async () => {
    gateway.faults = [
      { kind: "answer", response: () => refusal(429, "rate_limit_exceeded", "4 of 4", { "Retry-After": "7" }) },
    ];
    const response = await ask(resumingFetch());
    expect(response.status).toBe(429);
    expect(response.headers.get("Retry-After")).toBe("7");
    expect(await response.json()).toMatchObject({ error: { message: "4 of 4" } });
    expect(ended()).toMatchObject([{ how: "failed", error: { code: "too_many", retryAfterMs: 7_000 } }]);
  });

  it("waits for a gateway whose place an error page has taken", async () => {
    gateway.faults = [{ kind: "answer", response: () => new Response("<html>", { status: 530 }) }];
    expect(await text(await ask(resumingFetch()))).toBe(ANSWER);
  });

  it("that was replaced meanwhile is a typed error, and none of the other answer's bytes", async () => {
    gateway.faults = [{ kind: "dropped", after: 20 }];
    const response = await ask(resumingFetch());
    const other = { ...(gateway.sessions.get("c1") ?? expect.unreachable()), name: "session-2" };
    gateway.sessions.set("c1", other);
    await expect(text(response)).rejects.toMatchObject({ name: "HoldfastError", code: "conversation_replaced" });
    expect(ended()).toMatchObject([{ how: "replaced" }]);
  });

  it("is not mixed with another session's, even by a gateway that ignores the fence", async () => {
    const other = () => new Response("data: other", { headers: { "Holdfast-Session": "session-2" } });
    gateway.faults = [
      { kind: "dropped", after: 20 },
      { kind: "answer", response: other },
    ];
    const response = await ask(resumingFetch());
    await expect(text(response)).rejects.toMatchObject({ code: "conversation_replaced" });
  });

  it.each([
    ["gone", 404, "not_found_error", "No session"],
    ["unauthorised", 401, "authentication_error", "Invalid API Key"],
    ["offset_lost", 400, "invalid_request_error", "Stream offset lost, please restart"],
  ] as const)("that cannot be resumed is %s", async (code, status, type, message) => {
    gateway.faults = [
      { kind: "dropped", after: 20 },
      { kind: "answer", response: () => refusal(status, type, message) },
    ];
    const response = await ask(resumingFetch());
    const error = await text(response).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({ code, status, message });
    expect(ended()).toMatchObject([{ how: "failed", error: { code } }]);
  });

  it("waits as long as the gateway says, and goes on", async () => {
    const tooMany = () => refusal(429, "rate_limit_exceeded", "later", { "Retry-After": "7" });
    gateway.faults = [
      { kind: "dropped", after: 20 },
      { kind: "answer", response: tooMany },
    ];
    expect(await text(await ask(resumingFetch()))).toBe(ANSWER);
    expect(states.find(({ name }) => name === "waiting")).toMatchObject({ retryInMs: 7_000 });
  });

  it("is given up when the gateway stays away", async () => {
    gateway.faults = [
      { kind: "dropped", after: 20 },
      ...Array.from({ length: 100 }, (): Fault => ({ kind: "refused" })),
    ];
    const response = await ask(resumingFetch({ giveUpAfterMs: 60_000 }));
    await expect(text(response)).rejects.toMatchObject({ code: "unreachable", cause: new TypeError("fetch failed") });
  });

  it("is known however the gateway's address is spelled", async () => {
    const spelled = resumingFetch({ url: "HTTP://Gateway.Example:80/v1/" });
    expect(await text(await ask(spelled))).toBe(ANSWER);
    expect(gateway.posts[0]?.headers.get("X-Conversation-Id")).toBe("c1");
  });

  it("that was stopped elsewhere ends as it would without this package", async () => {
    gateway.says = { text: `${WORDS}: holdfast end=stopped\n\n`, end: "stopped" };
    expect(await text(await ask(resumingFetch()))).toContain("end=stopped");
    expect(ended()).toMatchObject([{ how: "stopped" }]);
  });

  it("that the gateway gave up carries its error event, and says so", async () => {
    const event = `data: {"error":{"code":502,"message":"lost","type":"origin_lost"}}\n\n`;
    gateway.says = { text: WORDS + event, end: "origin_lost" };
    expect(await text(await ask(resumingFetch()))).toBe(WORDS + event);
    expect(ended()).toMatchObject([{ how: "failed", error: { code: "origin_lost", message: "lost" } }]);
  });

  it("without stream is whole too", async () => {
    gateway.says = { text: '{"choices":[]}', end: "done", contentType: "application/json" };
    gateway.faults = [{ kind: "dropped", after: 5 }];
    const response = await ask(resumingFetch());
    expect(await settled(response.json())).toEqual({ choices: [] });
  });
});

describe("a request that is none of ours", () => {
  it.each([
    ["https://elsewhere.example/v1/chat/completions", "POST"],
    ["http://gateway.example.evil/v1/chat/completions", "POST"],
  ])("passes through without our key: %s", async (url, method) => {
    gateway.faults = [{ kind: "answer", response: () => new Response("as it is") }];
    const response = await settled(resumingFetch()(url, { method, body: BODY }));
    expect(await response.text()).toBe("as it is");
    expect(gateway.requests[0]?.headers.get("Authorization")).toBeNull();
    expect(gateway.requests[0]?.headers.get("X-Conversation-Id")).toBeNull();
  });

  it("to the gateway gets the key and nothing else", async () => {
    gateway.faults = [{ kind: "answer", response: () => new Response("models") }];
    await settled(resumingFetch()(`${gateway.url}/v1/models`));
    expect(gateway.requests[0]?.headers.get("Authorization")).toBe("Bearer key");
    expect(gateway.requests[0]?.headers.get("X-Conversation-Id")).toBeNull();
  });
});

describe("leaving", () => {
  it("by abort only detaches", async () => {
    gateway.says = { text: WORDS, end: null };
    const abort = new AbortController();
    const response = await ask(resumingFetch(), { signal: abort.signal });
    const read = text(response);
    await vi.advanceTimersByTimeAsync(1_000);
    abort.abort(new Error("the user went elsewhere"));
    await expect(read).rejects.toThrow("the user went elsewhere");
    expect(gateway.openBodies).toBe(0);
    expect(gateway.requests.map(({ method }) => method)).not.toContain("DELETE");
    expect(ended()).toMatchObject([{ how: "detached" }]);
  });

  it("by abort before the headers rejects with the app's reason", async () => {
    gateway.faults = [{ kind: "silent" }];
    const abort = new AbortController();
    const asked = ask(resumingFetch(), { signal: abort.signal });
    await vi.advanceTimersByTimeAsync(100);
    abort.abort(new Error("no longer"));
    await expect(asked).rejects.toThrow("no longer");
  });

  it("by abort in the moment of the headers leaves no connection, and ends as the last that is said", async () => {
    gateway.says = { text: WORDS, end: null };
    for (let turns = 0; turns < 30; turns++) {
      const abort = new AbortController();
      const later = (left: number) =>
        left === 0 ? abort.abort(new Error("gone")) : queueMicrotask(() => later(left - 1));
      const fetch = resumingFetch({
        fetch: async (input, init) => {
          const response = await gateway.fetch(input, init);
          later(turns);
          return response;
        },
      });
      await ask(fetch, { signal: abort.signal }).catch(() => {});
      await vi.advanceTimersByTimeAsync(100);
      expect(gateway.openBodies, `${turns} turns later`).toBe(0);
      expect(states.at(-1), `${turns} turns later`).toMatchObject({ name: "ended", how: "detached" });
    }
  });

  it("by abort stops where the app wants it so, fenced", async () => {
    gateway.says = { text: WORDS, end: null };
    const response = await ask(resumingFetch({ stopOnAbort: true }));
    const reader = response.body?.getReader();
    await settled(reader?.read() ?? expect.unreachable());
    await settled(reader?.cancel() ?? expect.unreachable());
    await vi.advanceTimersByTimeAsync(100);
    const stop = gateway.requests.at(-1);
    expect([stop?.method, stop?.query.get("session")]).toEqual(["DELETE", "session-1"]);
  });
});

describe("stop", () => {
  it("is fenced by the session, and ends a body that waits for a connection", async () => {
    gateway.says = { text: WORDS, end: null };
    const fetch = resumingFetch();
    gateway.faults = [{ kind: "dropped", after: 30 }, { kind: "refused" }, { kind: "refused" }, { kind: "refused" }];
    const read = text(await ask(fetch));
    await vi.advanceTimersByTimeAsync(700);
    gateway.faults = [];
    expect(await settled(fetch.stop())).toBe(true);
    expect((await read).length).toBeGreaterThan(0);
    expect(ended()).toMatchObject([{ how: "stopped" }]);
  });

  it("disturbs no other answer", async () => {
    gateway.says = { text: WORDS, end: null };
    const fetch = resumingFetch({ conversationId: undefined });
    const others = ["c2", "c3"].map(
      async (id) => await text(await ask(fetch, { headers: { "X-Conversation-Id": id } })),
    );
    await ask(fetch, { headers: { "X-Conversation-Id": "c1" } });
    await settled(fetch.stop("c1"));
    expect(gateway.reads.length).toBe(0);
    for (const id of ["c2", "c3"]) await settled(fetch.stop(id));
    expect((await Promise.all(others)).length).toBe(2);
  });

  it("of a request without an answer yet keeps it from being sent again", async () => {
    gateway.faults = [{ kind: "silent" }];
    const fetch = resumingFetch({ answerMs: 1_000 });
    const asked = ask(fetch);
    await vi.advanceTimersByTimeAsync(100);
    expect(await settled(fetch.stop())).toBe(true);
    await expect(asked).rejects.toMatchObject({ code: "conversation_stopped" });
    expect(gateway.posts.length).toBe(1);
  });

  it("that overtakes its request is said again when there is a session to name", async () => {
    gateway.says = { text: WORDS, end: null };
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const fetch = resumingFetch({
      fetch: async (input, init) => {
        if (init?.method === "POST") await arrived;
        return await gateway.fetch(input, init);
      },
    });
    const asked = ask(fetch);
    await vi.advanceTimersByTimeAsync(100);
    expect(await settled(fetch.stop())).toBe(true);
    arrive();
    const answer = text(await asked);
    await vi.advanceTimersByTimeAsync(100);
    expect(gateway.sessions.has("c1")).toBe(false);
    await answer;
    expect(ended()).toMatchObject([{ how: "stopped" }]);
  });

  it("by abort is heard before the next request of the conversation", async () => {
    gateway.says = { text: WORDS, end: null };
    const abort = new AbortController();
    const fetch = resumingFetch({ stopOnAbort: true });
    await ask(fetch, { signal: abort.signal });
    gateway.says = { text: ANSWER, end: "done" };
    gateway.faults = [{ kind: "refused" }];
    abort.abort();
    expect(await text(await ask(fetch))).toBe(ANSWER);
    expect(gateway.requests.map(({ method }) => method)).toEqual(["POST", "DELETE", "DELETE", "POST"]);
  });

  it("leaves a newer session alone, and says so", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    gateway.sessions.set("c1", { ...(gateway.sessions.get("c1") ?? expect.unreachable()), name: "newer" });
    expect(await settled(fetch.stop())).toBe(false);
    expect(gateway.sessions.get("c1")?.name).toBe("newer");
  });

  it("is repeated until the gateway has heard it", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    gateway.faults = [{ kind: "refused" }, { kind: "silent" }];
    expect(await settled(fetch.stop())).toBe(true);
    expect(gateway.sessions.has("c1")).toBe(false);
  });
});

describe("attach", () => {
  it("reads a finished answer from its first byte, and knows its end by the gateway's word", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    gateway.faults = [{ kind: "clean", after: 40 }];
    expect(await text(await settled(fetch.attach("c1")))).toBe(ANSWER);
    expect(ended().length).toBe(2);
  });

  it("asks for the gateway's word until it has it, and for no byte twice meanwhile", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    gateway.faults = [{ kind: "clean", after: ANSWER.length * 2 }, { kind: "refused" }, { kind: "silent" }];
    expect(await text(await settled(fetch.attach("c1")))).toBe(ANSWER);
    expect(gateway.reads.length).toBe(1);
  });

  it("goes on from an offset in the middle of the last event", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    const bytes = new TextEncoder().encode(ANSWER);
    const from = bytes.length - 4;
    expect(await text(await settled(fetch.attach("c1", { from })))).toBe("E]\n\n");
    expect(gateway.reads.at(-1)?.query.get("session")).toBe("session-1");
  });

  it("is gone where there is no answer", async () => {
    await expect(settled(resumingFetch().attach("nobody"))).rejects.toMatchObject({ code: "gone", status: 404 });
  });

  it("answers an SDK's POST with the replay, and asks nothing", async () => {
    const fetch = resumingFetch();
    await text(await ask(fetch));
    const replay = await settled(fetch.attachFetch("c1")(CHAT(), { method: "POST", body: "{}" }));
    expect(await text(replay)).toBe(ANSWER);
    expect(gateway.generations).toBe(1);
    const missing = await settled(fetch.attachFetch("nobody")(CHAT(), { method: "POST", body: "{}" }));
    expect(missing.status).toBe(404);
  });
});

describe("storage", () => {
  it("lets a reload join the unfinished answer when the app asks the same again", async () => {
    const storage = mapStorage();
    gateway.says = { text: WORDS, end: null };
    const abort = new AbortController();
    await ask(resumingFetch({ storage }), { signal: abort.signal });
    abort.abort();
    const session = gateway.sessions.get("c1") ?? expect.unreachable();
    session.bytes = new TextEncoder().encode(ANSWER);
    session.end = "done";
    expect(await text(await ask(resumingFetch({ storage })))).toBe(ANSWER);
    expect(gateway.generations).toBe(1);
    expect(storage.entries.size).toBe(0);
  });

  it("does not keep a reload from asking something else", async () => {
    const storage = mapStorage();
    const abort = new AbortController();
    await ask(resumingFetch({ storage }), { signal: abort.signal });
    abort.abort();
    expect(await text(await ask(resumingFetch({ storage }), {}, '{"other":1}'))).toBe(ANSWER);
    expect(gateway.generations).toBe(2);
  });

  it("that fails costs no answer", async () => {
    const fail = () => Promise.reject(new Error("QuotaExceededError"));
    const storage = { getItem: fail, setItem: fail, removeItem: fail };
    expect(await text(await ask(resumingFetch({ storage })))).toBe(ANSWER);
  });
});

describe("a device that wakes", () => {
  it("opens a new connection before it gives up the old one", async () => {
    gateway.says = { text: WORDS, end: null };
    const fetch = resumingFetch();
    const read = text(await ask(fetch));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(gateway.openBodies).toBe(1);
    const session = gateway.sessions.get("c1") ?? expect.unreachable();
    session.bytes = new TextEncoder().encode(ANSWER);
    session.end = "done";
    fetch.wake();
    expect(await read).toBe(ANSWER);
    expect(gateway.reads.length).toBe(1);
  });

  it("does not wait for its next try", async () => {
    gateway.says = { text: ANSWER, end: "done" };
    const fetch = resumingFetch();
    gateway.faults = [{ kind: "dropped", after: 9 }, ...Array.from({ length: 20 }, (): Fault => ({ kind: "refused" }))];
    const read = text(await ask(fetch));
    await vi.advanceTimersByTimeAsync(9_000);
    gateway.faults = [];
    const waiting = gateway.requests.length;
    fetch.wake();
    await vi.advanceTimersByTimeAsync(10);
    expect(gateway.requests.length).toBe(waiting + 1);
    expect(await read).toBe(ANSWER);
  });
});

function mapStorage(): ResumeStorage & { entries: Map<string, string> } {
  const entries = new Map<string, string>();
  return {
    entries,
    getItem: async (key) => entries.get(key) ?? null,
    setItem: async (key, value) => entries.set(key, value),
    removeItem: async (key) => entries.delete(key),
  };
}
