import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DemoOrigin, startDemoOrigin } from "../../demo/origin.ts";
import { send } from "../support/http.ts";

let folder: string;
let origin: DemoOrigin;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-demo-"));
  await start();
});
afterEach(async () => {
  await origin.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  origin = await startDemoOrigin({ paceMs: 1, journal: join(folder, "demo.json") });
}

function post(path: string, body: Record<string, unknown>, id = "chat") {
  return send("POST", origin.url + path, { headers: { "x-conversation-id": id }, body });
}

function replay(id = "chat") {
  return send("GET", `${origin.url}/v1/stream?conv_id=${id}&from=0`).answer;
}

const messages = [{ role: "user", content: "hi" }];
const input = "hi";

describe("a demo origin that is restarted", () => {
  it.each([
    ["/v1/chat/completions", { messages, max_tokens: 60, stream_options: { include_usage: true } }],
    ["/v1/completions", { prompt: input, max_tokens: 60 }],
    ["/completion", { prompt: input, n_predict: 60 }],
    ["/v1/responses", { input, max_output_tokens: 60 }],
    ["/v1/messages", { messages, max_tokens: 60 }],
  ])("goes on with an answer of %s: the same bytes as before, to its end, on the same port", async (path, body) => {
    const before = origin.url;
    const cut = await post(path, { ...body, stream: true }).answer;
    await cut.readUntil(2_000);
    await origin.close();
    await cut.closed;
    await start();
    expect(origin.url).toBe(before);
    const whole = await (await replay()).whole();
    expect(whole.subarray(0, cut.length).equals(cut.bytes)).toBe(true);
    expect(whole.length).toBeGreaterThan(cut.length);

    await origin.close();
    await start();
    expect((await (await replay()).whole()).equals(whole)).toBe(true);
  });

  it("does not bring back what was stopped, what was replaced, or an answer that is JSON", async () => {
    const body = { messages, max_tokens: 10_000, stream: true };
    const stopped = await post("/v1/chat/completions", body, "stopped").answer;
    await stopped.readUntil(500);
    await send("DELETE", `${origin.url}/v1/stream?conv_id=stopped`).answer;
    const json = post("/v1/chat/completions", { ...body, stream: false }, "json");
    json.answer.catch(() => {});
    const first = await post("/v1/chat/completions", body).answer;
    await first.readUntil(500);
    const second = await post("/v1/chat/completions", { ...body, max_tokens: 20, seed: 2 }).answer;
    const answer = await second.whole();
    await origin.close();
    await start();
    expect((await replay("stopped")).status).toBe(404);
    expect((await replay("json")).status).toBe(404);
    expect((await (await replay()).whole()).equals(answer)).toBe(true);
    expect(origin.generations).toBe(0);
  });
});
