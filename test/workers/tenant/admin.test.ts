import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { call, chat } from "../client.ts";
import { issue, limit, order } from "./owner.ts";

describe("the owner's routes", () => {
  it("are closed to every other key", async () => {
    for (const key of ["key-of-alice-for-tests", "wrong", await issue("closed")]) {
      const response = await order("GET", "/tenants", undefined, { key });
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({
        error: { code: 401, message: "Invalid API Key", type: "authentication_error" },
      });
    }
  });

  it("list the tenants that were made and those of API_KEYS, and nothing of one that was only asked for", async () => {
    await issue("made");
    await limit("limited", { rpm: 5 });
    expect((await order("GET", "/tenants/only-asked")).status).toBe(200);
    const { data } = await (await order("GET", "/tenants")).json<{ data: string[] }>();
    expect(data).toEqual(expect.arrayContaining(["alice", "bob", "limited", "made"]));
    expect(data).not.toContain("only-asked");
    await runInDurableObject(env.TENANT.getByName("only-asked"), (_, { storage }) => {
      expect(storage.sql.exec("SELECT name FROM sqlite_master").toArray()).toEqual([]);
    });
  });

  it("show a key once, and afterwards all but the key", async () => {
    const response = await order("POST", "/tenants/once/keys", {
      name: "phone",
      expires_in: 3_600,
      scopes: ["read"],
      limits: { rpm: 5 },
    });
    expect(response.status).toBe(201);
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    const { key } = await response.json<{ key: string }>();
    expect(key).toMatch(/^hf_once_[A-Za-z0-9_-]{44}$/);
    const text = await (await order("GET", "/tenants/once")).text();
    expect(text).not.toContain(key.slice(-44, -22));
    expect(JSON.parse(text)).toMatchObject({
      tenant: "once",
      limits: {},
      keys: [{ name: "phone", last_used_at: null, scopes: ["read"], limits: { rpm: 5 } }],
    });
  });

  it("change limits one by one", async () => {
    await issue("changed", { name: "phone" });
    await limit("changed", { rpm: 5, live: 2 });
    await limit("changed", { rpm: null, models: ["qwen*"] });
    await order("PATCH", "/tenants/changed/keys/phone", { limits: { live: 1 } });
    const entry = await (await order("GET", "/tenants/changed")).json();
    expect(entry).toMatchObject({ limits: { live: 2, models: ["qwen*"] }, keys: [{ limits: { live: 1 } }] });
  });

  it.each([
    ["POST", "/tenants/a%2Fb/keys", {}, 400],
    ["POST", "/tenants/wrong/keys", { name: "API_KEYS" }, 400],
    ["POST", "/tenants/wrong/keys", { name: "a b" }, 400],
    ["POST", "/tenants/wrong/keys", { scopes: ["admin"] }, 400],
    ["POST", "/tenants/wrong/keys", { expires_in: 0 }, 400],
    ["POST", "/tenants/wrong/keys", { limits: { tpm: 1 } }, 400],
    ["PATCH", "/tenants/wrong", { limits: { rpm: -1 } }, 400],
    ["PATCH", "/tenants/wrong", {}, 400],
    ["PATCH", "/tenants/wrong", [], 400],
    ["PATCH", "/tenants/wrong/keys/none", { limits: { rpm: 1 } }, 404],
    ["DELETE", "/tenants/wrong/keys/none", undefined, 404],
    ["GET", "/nothing", undefined, 404],
  ])("refuse %s %s %j and make no tenant", async (method, path, body, status) => {
    expect((await order(method, path, body)).status).toBe(status);
    const { data } = await (await order("GET", "/tenants")).json<{ data: string[] }>();
    expect(data).not.toContain("wrong");
  });

  it("refuse a second key of a name", async () => {
    await issue("twice", { name: "phone" });
    expect((await order("POST", "/tenants/twice/keys", { name: "phone" })).status).toBe(409);
  });
});

describe("an issued key", () => {
  it("works on the next request, for its tenant only, and stops with its removal", async () => {
    const key = await issue("fresh", { name: "phone" });
    const post = await chat("mine", { tokens: 3 }, { key });
    expect(post.status).toBe(200);
    expect(await post.text()).toContain("[DONE]");
    expect((await call("/v1/stream?conv_id=mine&from=0", { key })).status).toBe(200);
    expect((await call("/v1/stream?conv_id=mine&from=0")).status).toBe(404);
    expect((await order("DELETE", "/tenants/fresh/keys/phone")).status).toBe(204);
    const refused = await chat("mine", { tokens: 3 }, { key });
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ error: { type: "authentication_error" } });
    // The isolate still believes what it was told; see READ_LAG_MS.
    expect((await call("/v1/stream?conv_id=mine&from=0", { key })).status).toBe(200);
  });

  it("of the scope read neither generates nor deletes", async () => {
    const key = await issue("reader", { scopes: ["read"] });
    expect((await call("/v1/usage", { key })).status).toBe(200);
    const post = await chat("c", { tokens: 3 }, { key });
    expect(post.status).toBe(403);
    expect(await post.json()).toEqual({
      error: { code: 403, message: 'Key "default" may read, not generate', type: "permission_error" },
    });
    expect((await call("/v1/stream?conv_id=c", { key, method: "DELETE" })).status).toBe(403);
    expect((await call("/tokenize", { key, method: "POST", body: "{}" })).status).toBe(403);
    expect((await call("/v1/streams/lookup", { key, method: "POST", body: "{}" })).status).toBe(200);
  });

  it("that was never issued makes no object, whatever it names", async () => {
    const key = await issue("real");
    const before = (await listDurableObjectIds(env.TENANT)).length;
    for (let i = 0; i < 200; i++) {
      const forged = `hf_forged-${i}_${key.slice(-44)}`;
      expect((await chat("c", {}, { key: forged })).status).toBe(401);
    }
    expect(await listDurableObjectIds(env.TENANT)).toHaveLength(before);
    expect((await chat("c", { tokens: 1 }, { key })).status).toBe(200);
  });
});

describe("wrong keys", () => {
  it("are refused above a number per address, and right ones never", async () => {
    const from = (address: string) => ({ headers: { "CF-Connecting-IP": address } });
    const statuses: number[] = [];
    for (let i = 0; i < 70; i++) {
      const response = await call("/v1/models", { key: `wrong-${i}`, ...from("192.0.2.1") });
      statuses.push(response.status);
      if (response.status === 429) expect(response.headers.get("Retry-After")).toBe("60");
    }
    expect(statuses.filter((status) => status === 401)).toHaveLength(60);
    expect(statuses.slice(60)).toEqual(Array.from({ length: 10 }, () => 429));
    expect((await call("/v1/models", from("192.0.2.1"))).status).toBe(200);
    expect((await call("/v1/models", { key: "wrong", ...from("192.0.2.2") })).status).toBe(401);
  });
});
