import { afterEach, describe, expect, inject, it } from "vitest";
import { send } from "../support/http.ts";
import { Client, events, expectSameBytes, freshId } from "./client.ts";
import { onEach } from "./differences.ts";

const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "hi" }];

/** Refused before the stream: what, by which route, and the type of the error. All of them are 400. */
const REFUSED: ReadonlyArray<[what: string, path: string, body: unknown, type?: string]> = [
  ["not JSON", CHAT, "{bad"],
  ["an empty body", CHAT, ""],
  ["no messages", CHAT, { stream: true }],
  ["messages that are a string", CHAT, { stream: true, messages: "hi" }],
  ["a message without content", CHAT, { stream: true, messages: [{ role: "user" }] }],
  ["a temperature that is a string", CHAT, { stream: true, messages: MESSAGES, temperature: "hot" }],
  ["max_tokens that is a string", CHAT, { stream: true, messages: MESSAGES, max_tokens: "x" }],
  ["no prompt", "/v1/completions", { stream: true }],
  ["no prompt", "/completion", { stream: true }],
  ["no input", "/v1/responses", { stream: true }],
  ["not JSON", "/v1/messages", "{bad"],
  [
    "a prompt longer than the context",
    CHAT,
    { stream: true, messages: [{ role: "user", content: "x".repeat(40_000) }] },
    "exceed_context_size_error",
  ],
];

describe.each(inject("targets"))("errors on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  async function expectNoSession(id: string): Promise<void> {
    expect((await client.replay(id)).status).toBe(404);
    expect(await client.lookup(id)).toEqual([]);
  }

  it.each(REFUSED)("%s for %s is 400 and leaves no session", async (_, path, body, type = "invalid_request_error") => {
    const id = freshId();
    const answer = await client.post(body, { id, path });
    expect(answer.status).toBe(400);
    expect(answer.headers["content-type"]).toMatch(/^application\/json/);
    expect(await answer.json()).toMatchObject({ error: { code: 400, type, message: expect.stringMatching(/./) } });
    await expectNoSession(id);
  });

  it("the origin's refusal is passed on word for word", async () => {
    const refused = { stream: true, messages: MESSAGES, temperature: "hot" };
    const ours = await client.post(refused, { id: freshId() });
    const origin = await send("POST", target.originUrl + CHAT, {
      headers: { authorization: `Bearer ${target.originKey}` },
      body: refused,
    }).answer;
    expectSameBytes(await ours.whole(), await origin.whole());
    expect(ours.headers["content-type"]).toBe(origin.headers["content-type"]);
  });

  it("/v1/messages without messages", async () => {
    const id = freshId();
    const answer = await client.post({ stream: true }, { id, path: "/v1/messages" });
    await onEach(target, "anthropic-without-messages", {
      async contract() {
        expect(answer.status).toBe(500);
        expect(await answer.json()).toMatchObject({ error: { code: 500, type: "server_error" } });
      },
      holdfast: () => expect(answer.status).toBe(400),
    });
    await expectNoSession(id);
  });

  it("a body that is too long", async () => {
    const id = freshId();
    const answer = await client.post(
      { messages: MESSAGES, stream: true, pad: "x".repeat(300_000), max_tokens: 2 },
      { id },
    );
    await onEach(target, "oversized-bodies", {
      async contract() {
        expect(answer.status).toBe(200);
        expect((await answer.whole()).toString()).toMatch(/\[DONE\]\n\n$/);
      },
      async holdfast() {
        expect(answer.status).toBe(413);
        expect(await answer.json()).toMatchObject({ error: { code: 413 } });
        await expectNoSession(id);
      },
    });
  });

  it("an error in the middle of a stream ends it cleanly, and is replayed", async () => {
    // llama-server's context is shared: four long answers at once do not fit into it.
    const isReal = target.originKind === "llama-server";
    const messages = [{ role: "user", content: "x".repeat(isReal ? 7_900 : 10) }];
    const ids = Array.from({ length: isReal ? 4 : 1 }, () => freshId());
    const demo = { tokens: 20, ending: "error" };
    const body = { messages, stream: true, max_tokens: 2000, demo };
    const answers = await Promise.all(ids.map((id) => client.post(body, { id })));
    const bodies = await Promise.all(answers.map((answer) => answer.whole()));
    // One that was refused outright is no stream.
    const failed = bodies.findIndex((bytes, n) => answers[n]?.status === 200 && bytes.includes('"error"'));
    const [id, bytes] = [ids[failed], bodies[failed]];
    if (id === undefined || bytes === undefined) throw new Error("None of the streams failed");

    expect(events(bytes).at(-1)).toMatchObject({ error: { code: 500, type: "server_error" } });
    expect(bytes.toString()).not.toContain("[DONE]");
    expectSameBytes(await (await client.replay(id)).whole(), bytes);
    expect(await client.ended(id)).toMatchObject({ is_done: true, total_bytes: bytes.length });
  });

  it.each([
    ["no key", {}],
    ["a wrong key", { authorization: "Bearer wrong" }],
    ["a wrong key, and a right one in the other header", { authorization: "Bearer wrong", "x-api-key": target.apiKey }],
    ["a right key with another scheme", { authorization: `Basic ${target.apiKey}` }],
  ])("%s is 401", async (_, headers) => {
    const id = freshId();
    for (const exchange of [
      send("POST", target.url + CHAT, { headers: { ...headers, "x-conversation-id": id }, body: client.short() }),
      send("GET", `${target.url}/v1/stream?conv_id=${id}`, { headers }),
      send("DELETE", `${target.url}/v1/stream?conv_id=${id}`, { headers }),
      send("POST", `${target.url}/v1/streams/lookup`, { headers, body: { conversation_ids: [id] } }),
      send("GET", `${target.url}/v1/models`, { headers }),
    ]) {
      const answer = await exchange.answer;
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ error: { code: 401, type: "authentication_error" } });
    }
    await expectNoSession(id);
  });

  it.each([
    ["Authorization: Bearer", { authorization: `Bearer ${target.apiKey}` }],
    ["Authorization", { authorization: target.apiKey }],
    ["X-Api-Key", { "x-api-key": target.apiKey }],
  ])("a key in %s is accepted", async (_, headers) => {
    const answer = await send("GET", `${target.url}/v1/models`, { headers }).answer;
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ object: "list", data: [{ object: "model" }] });
  });

  it("GET /health needs no key", async () => {
    const answer = await send("GET", `${target.url}/health`).answer;
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ status: "ok" });
  });

  it("an unknown path is 404 in llama-server's shape", async () => {
    const answer = await client.send("GET", "/v1/nothing-here").answer;
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: { code: 404, type: "not_found_error" } });
  });

  it("a browser may read every answer, errors too", async () => {
    const origin = "https://app.example";
    const headers = { origin };
    const answers = await Promise.all([
      client.post(client.short({ max_tokens: 1 }), { id: freshId(), headers }),
      client.post("{bad", { headers }),
      client.replay(freshId(), 0, { headers }),
      client.send("GET", "/v1/models", { headers: { ...headers, authorization: "Bearer wrong" } }).answer,
    ]);
    expect(answers.map((answer) => answer.status)).toEqual([200, 400, 404, 401]);
    for (const answer of answers) expect(["*", origin]).toContain(answer.headers["access-control-allow-origin"]);
  });

  it("a preflight needs no key", async () => {
    const answer = await send("OPTIONS", target.url + CHAT, {
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-conversation-id,content-type",
      },
    }).answer;
    expect([200, 204]).toContain(answer.status);
    expect(answer.headers["access-control-allow-methods"]).toMatch(/POST.*DELETE|DELETE.*POST/);
    const allowed = answer.headers["access-control-allow-headers"]?.toLowerCase();
    await onEach(target, "preflight-names-headers", {
      contract: () => expect(allowed).toBe("*"),
      holdfast() {
        for (const name of ["authorization", "x-api-key", "x-conversation-id", "idempotency-key", "content-type"]) {
          expect(allowed).toContain(name);
        }
      },
    });
  });
});
