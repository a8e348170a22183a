import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { app } from "../../../src/app.ts";
import { chatBody } from "../client.ts";
import { issue } from "./owner.ts";

/** A tenant's object that never answers, whatever it is asked. */
const SILENT = new Proxy(env.TENANT, {
  get: () => () => new Proxy({}, { get: () => () => new Promise(() => {}) }),
});

/** A strict POST to a gateway with these bindings. */
async function post(key: string, bindings: Partial<Env>): Promise<Response> {
  const init = { method: "POST", headers: { Authorization: `Bearer ${key}` }, body: chatBody({ tokens: 1 }) };
  const url = "http://gateway.test/v1/chat/completions";
  return await app.request(url, init, { ...env, ...bindings }, createExecutionContext());
}

describe("a tenant's object that is silent", () => {
  it("is waited for 2 s, then the request is refused, and may be tried again", async () => {
    const key = await issue("silent");
    const started = Date.now();
    const answer = await post(key, { TENANT: SILENT });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("Retry-After")).toBe("1");
    expect(Date.now() - started).toBeGreaterThan(1_900);
    expect(Date.now() - started).toBeLessThan(4_000);
  });

  it("does not stop a key of API_KEYS where no owner can have set limits", async () => {
    const answer = await post("key-of-alice-for-tests", { TENANT: SILENT, ADMIN_KEY: "" });
    expect(answer.status).toBe(200);
  });
});
