import assert from "node:assert/strict";
import { type Answer, type SendOptions, send } from "../support/http.ts";
import { expectDone, expectError, expectMatch, expectSameBytes, expectStatus } from "./assertions.ts";
import { type Client, events, freshId, MESSAGES } from "./client.ts";
import { onEach } from "./differences.ts";
import type { Need, Rule } from "./rule.ts";

const CHAT = "/v1/chat/completions";
const APP = "https://app.example";

/** Refused before the stream with 400: what, by which route; a type of its own; what it takes. */
const REFUSED: ReadonlyArray<{ what: string; path: string; body: unknown; type?: string; needs?: readonly Need[] }> = [
  { what: "not JSON", path: CHAT, body: "{bad" },
  { what: "an empty body", path: CHAT, body: "" },
  { what: "no messages", path: CHAT, body: { stream: true } },
  { what: "messages that are a string", path: CHAT, body: { stream: true, messages: "hi" } },
  { what: "a message without content", path: CHAT, body: { stream: true, messages: [{ role: "user" }] } },
  {
    what: "a temperature that is a string",
    path: CHAT,
    body: { stream: true, messages: MESSAGES, temperature: "hot" },
  },
  { what: "max_tokens that is a string", path: CHAT, body: { stream: true, messages: MESSAGES, max_tokens: "x" } },
  { what: "no prompt", path: "/v1/completions", body: { stream: true } },
  { what: "no prompt", path: "/completion", body: { stream: true } },
  { what: "no input", path: "/v1/responses", body: { stream: true } },
  { what: "not JSON", path: "/v1/messages", body: "{bad" },
  {
    what: "a prompt longer than the context",
    path: CHAT,
    body: { stream: true, messages: [{ role: "user", content: "x".repeat(40_000) }] },
    type: "exceed_context_size_error",
    needs: ["suite"],
  },
];

const REFUSED_KEYS: ReadonlyArray<[what: string, headers: (apiKey: string) => Record<string, string>]> = [
  ["no key", () => ({})],
  ["a wrong key", () => ({ authorization: "Bearer wrong" })],
  [
    "a wrong key, and a right one in the other header",
    (apiKey) => ({ authorization: "Bearer wrong", "x-api-key": apiKey }),
  ],
  ["a right key with another scheme", (apiKey) => ({ authorization: `Basic ${apiKey}` })],
];

const ACCEPTED_KEYS: ReadonlyArray<[where: string, headers: (apiKey: string) => Record<string, string>]> = [
  ["Authorization: Bearer", (apiKey) => ({ authorization: `Bearer ${apiKey}` })],
  ["Authorization", (apiKey) => ({ authorization: apiKey })],
  ["X-Api-Key", (apiKey) => ({ "x-api-key": apiKey })],
];

export const ERRORS: readonly Rule[] = [
  ...REFUSED.map(({ what, path, body, type = "invalid_request_error", needs = [] }) => ({
    name: `${what} for ${path} is 400 and leaves no session`,
    needs,
    async run(client: Client) {
      const id = freshId();
      const asked = typeof body === "object" && body !== null ? client.body({ ...body }) : body;
      await expectError(await client.post(asked, { id, path }), 400, type);
      await expectNoSession(client, id);
    },
  })),
  {
    name: "the origin's refusal is passed on word for word",
    needs: ["origin"],
    async run(client) {
      const body = client.body({ stream: true, messages: MESSAGES, temperature: "hot" });
      const ours = await client.post(body, { id: freshId() });
      const origin = await client.sendToOrigin("POST", CHAT, { body }).answer;
      expectSameBytes(await ours.whole(), await origin.whole());
      assert.equal(ours.headers["content-type"], origin.headers["content-type"]);
    },
  },
  {
    name: "/v1/messages without messages",
    async run(client) {
      const id = freshId();
      const answer = await client.post(client.body({ stream: true }), { id, path: "/v1/messages" });
      await onEach(client.target, "anthropic-without-messages", {
        contract: () => expectError(answer, 500, "server_error"),
        holdfast: () => expectStatus(answer, 400),
      });
      await expectNoSession(client, id);
    },
  },
  {
    name: "a body that is too long",
    needs: ["suite"],
    async run(client) {
      const id = freshId();
      const answer = await client.post(client.short({ pad: "x".repeat(300_000), max_tokens: 2 }), { id });
      await onEach(client.target, "oversized-bodies", {
        async contract() {
          await expectStatus(answer, 200);
          expectDone(await answer.whole());
        },
        async holdfast() {
          assert.equal(answer.status, 413);
          expectMatch(await answer.json(), { error: { code: 413 } });
          await expectNoSession(client, id);
        },
      });
    },
  },
  {
    name: "an error in the middle of a stream ends it cleanly, and is replayed",
    needs: ["suite"],
    run: anErrorInTheMiddle,
  },
  ...REFUSED_KEYS.map(([what, headers]) => ({
    name: `${what} is 401`,
    needs: ["apiKey"] as const,
    async run(client: Client) {
      const id = freshId();
      for (const answer of await everywhere(client, id, headers(client.target.apiKey ?? ""))) {
        await expectError(answer, 401, "authentication_error");
      }
      await expectNoSession(client, id);
    },
  })),
  ...ACCEPTED_KEYS.map(([where, headers]) => ({
    name: `a key in ${where} is accepted`,
    needs: ["apiKey"] as const,
    async run({ target }: Client) {
      const answer = await send("GET", `${target.url}/v1/models`, { headers: headers(target.apiKey ?? "") }).answer;
      await expectStatus(answer, 200);
      const models = await answer.json();
      expectMatch(models, { object: "list" });
      const [first] = (models as { data: unknown[] }).data;
      expectMatch(first, { object: "model" });
    },
  })),
  {
    name: "GET /health needs no key",
    async run({ target }) {
      const answer = await send("GET", `${target.url}/health`).answer;
      await expectStatus(answer, 200);
      expectMatch(await answer.json(), { status: "ok" });
    },
  },
  {
    name: "an unknown path is 404 in llama-server's shape",
    run: async (client) => expectError(await client.send("GET", "/v1/nothing-here").answer, 404, "not_found_error"),
  },
  {
    name: "a browser may read every answer, errors too",
    async run(client) {
      const headers = { origin: APP };
      const answers = await Promise.all([
        client.post(client.short({ max_tokens: 1 }), { id: freshId(), headers }),
        client.post("{bad", { headers }),
        client.replay(freshId(), 0, { headers }),
      ]);
      assert.deepEqual(
        answers.map((answer) => answer.status),
        [200, 400, 404],
      );
      for (const answer of answers) expectReadable(answer);
    },
  },
  {
    name: "a browser may read a 401 too",
    needs: ["apiKey"],
    async run(client) {
      const headers = { origin: APP, authorization: "Bearer wrong" };
      const answer = await client.send("GET", "/v1/models", { headers }).answer;
      assert.equal(answer.status, 401);
      expectReadable(answer);
    },
  },
  {
    name: "a preflight needs no key",
    run: aPreflight,
  },
];

async function expectNoSession(client: Client, id: string): Promise<void> {
  await expectStatus(await client.replay(id), 404);
  assert.deepEqual(await client.lookup(id), []);
}

function expectReadable({ headers }: Answer): void {
  assert.ok(["*", APP].includes(headers["access-control-allow-origin"] ?? "none"));
}

/** Every kind of request, with these headers alone. */
function everywhere({ target }: Client, id: string, headers: Record<string, string>): Promise<Answer[]> {
  const chat = { messages: MESSAGES, stream: true, max_tokens: 2 };
  const requests: ReadonlyArray<[method: string, path: string, options: SendOptions]> = [
    ["POST", CHAT, { headers: { ...headers, "x-conversation-id": id }, body: chat }],
    ["GET", `/v1/stream?conv_id=${id}`, { headers }],
    ["DELETE", `/v1/stream?conv_id=${id}`, { headers }],
    ["POST", "/v1/streams/lookup", { headers, body: { conversation_ids: [id] } }],
    ["GET", "/v1/models", { headers }],
  ];
  return Promise.all(requests.map(([method, path, options]) => send(method, target.url + path, options).answer));
}

async function anErrorInTheMiddle(client: Client): Promise<void> {
  // llama-server's context is shared: four long answers at once do not fit into it. The demo is asked for an error.
  const { requests, chars } = client.suite.contextFilling;
  const messages = [{ role: "user", content: "x".repeat(chars) }];
  const ids = Array.from({ length: requests }, () => freshId());
  const body = { messages, stream: true, max_tokens: 2000, demo: { tokens: 20, ending: "error" } };
  const answers = await Promise.all(ids.map((id) => client.post(body, { id })));
  const bodies = await Promise.all(answers.map((answer) => answer.whole()));
  // One that was refused outright is no stream.
  const failed = bodies.findIndex((bytes, n) => answers[n]?.status === 200 && bytes.includes('"error"'));
  const [id, bytes] = [ids[failed], bodies[failed]];
  assert.ok(id !== undefined && bytes !== undefined, "None of the streams failed");

  expectMatch(events(bytes).at(-1), { error: { code: 500, type: "server_error" } });
  assert.ok(!bytes.includes("[DONE]"));
  expectSameBytes(await (await client.replay(id)).whole(), bytes);
  expectMatch(await client.ended(id), { is_done: true, total_bytes: bytes.length });
}

async function aPreflight({ target }: Client): Promise<void> {
  const headers = {
    origin: APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,x-conversation-id,content-type",
  };
  const answer = await send("OPTIONS", target.url + CHAT, { headers }).answer;
  assert.ok([200, 204].includes(answer.status), `It is ${answer.status}`);
  assert.match(String(answer.headers["access-control-allow-methods"]), /POST.*DELETE|DELETE.*POST/);
  const allowed = String(answer.headers["access-control-allow-headers"]).toLowerCase();
  await onEach(target, "preflight-names-headers", {
    contract: () => assert.equal(allowed, "*"),
    holdfast() {
      for (const name of ["authorization", "x-api-key", "x-conversation-id", "idempotency-key", "content-type"]) {
        assert.ok(allowed.includes(name), `${allowed} lacks ${name}`);
      }
    },
  });
}
