import { createExecutionContext, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { app } from "../../../src/app.ts";
import { storageOf } from "../../../src/storage/object-storage.ts";
import { Ledger } from "../../../src/tenant/ledger.ts";
import { originShares } from "../../../src/tenant/overview.ts";
import { call, chat, chatBody, ended, readUntil, stop, until } from "../client.ts";
import { issue, order } from "./owner.ts";

interface Status {
  origins: { name: string; live: number; today: { requests: number; reattached: number; ends: object } }[];
  directory: string;
  missing: string[];
}

afterEach(() => {
  vi.useRealTimers();
});

async function status(): Promise<Status> {
  return await (await order("GET", "/status")).json<Status>();
}

/** The namespace, with other stubs where `stubOf` has one. */
function withStub<N extends { getByName(name: string): object }>(
  namespace: N,
  stubOf: (name: string) => object | undefined,
): N {
  return new Proxy(namespace, {
    get: (target, property) => {
      if (property !== "getByName") return Reflect.get(target, property);
      return (name: string) => stubOf(name) ?? target.getByName(name);
    },
  });
}

function neverAnswering(): object {
  return new Proxy({}, { get: () => () => new Promise(() => {}) });
}

function failing(): object {
  return new Proxy({}, { get: () => () => Promise.reject(new Error("no storage")) });
}

describe("the owner's view of what runs", () => {
  it("says of each origin what is live there, and how the sessions ended, strict ones too", async () => {
    const slow = await chat("slow", { tokens: 1_000, pace_ms: 20 });
    await readUntil(slow, "data:");
    expect((await chat("quick", { tokens: 2 })).status).toBe(200);
    await ended("quick", "done");
    const strict = await call("/v1/chat/completions", { method: "POST", body: chatBody({ tokens: 2 }) });
    await strict.text();
    const counted = { done: 1, strict: 1 };
    await until("both are counted", async () => (await status()).origins[0]?.today.requests === 2);
    const { origins, missing } = await status();
    expect(missing).toEqual([]);
    expect(origins).toHaveLength(1);
    expect(origins[0]).toMatchObject({ name: "default", state: "there", weight: 1, live: 1 });
    expect(origins[0]?.today).toEqual({ requests: 2, reattached: 0, ends: counted });
    expect(origins[0]).toMatchObject({ last_7_days: { requests: 2, reattached: 0, ends: counted } });
    expect((await stop("slow")).status).toBe(204);
    const after = (await status()).origins[0];
    expect(after).toMatchObject({ live: 0, today: { requests: 3, ends: { ...counted, stopped: 1 } } });
  });

  it("lists the live sessions with tenant, key and origin, and without their conversations", async () => {
    const key = await issue("anna", { name: "phone" });
    const answer = await chat("secret-id", { tokens: 1_000, pace_ms: 20 }, { key, fields: { model: "qwen" } });
    await readUntil(answer, "data:");
    const text = await (await order("GET", "/sessions")).text();
    expect(text).not.toContain("secret-id");
    const session = answer.headers.get("Holdfast-Session");
    const row = { tenant: "anna", session, key: "phone", model: "qwen", origin: "default", reattached: 0 };
    expect(JSON.parse(text)).toMatchObject({ object: "list", data: [row], more: 0, missing: [] });
    await stop("secret-id", { key });
    expect(await (await order("GET", "/sessions")).json()).toMatchObject({ data: [], more: 0 });
  });

  it("says which tenants' objects did not answer, and has the rest", async () => {
    await issue("silent");
    const silent = withStub(env.TENANT, (name) => (name === "silent" ? neverAnswering() : undefined));
    for (const answer of await Promise.all(OVERVIEWS.map((path) => ask(path, { TENANT: silent })))) {
      expect(answer.status).toBe(200);
      expect(await answer.json<Status>()).toMatchObject({ directory: "there", missing: ["silent"] });
    }
  });

  it.each([
    ["is silent", neverAnswering],
    ["fails", failing],
  ])("says that the list of tenants %s, and has the origins and the tenants of API_KEYS", async (_, stub) => {
    const slow = await chat("unlisted", { tokens: 1_000, pace_ms: 20 });
    await readUntil(slow, "data:");
    const bindings = { DIRECTORY: withStub(env.DIRECTORY, () => stub()) };
    const started = Date.now();
    const [list, ...overviews] = await Promise.all(["/tenants", ...OVERVIEWS].map((path) => ask(path, bindings)));
    expect(Date.now() - started).toBeLessThan(4_000);
    const unheard = { directory: "away", missing: [] };
    expect(await Promise.all(overviews.map((answer) => answer.json()))).toMatchObject([
      { origins: [{ name: "default", state: "there", live: 1 }], ...unheard },
      { data: [{ key: "API_KEYS" }], ...unheard },
      { object: "page", ...unheard },
    ]);
    expect(list?.status).toBe(503);
    expect(await list?.text()).toContain("list of tenants did not answer within 2 s");
    expect((await stop("unlisted")).status).toBe(204);
  });

  it("ends within 10 s, however many are silent", async () => {
    const names = Array.from({ length: 400 }, (_, i) => `made-${String(i).padStart(3, "0")}`);
    const bindings = {
      TENANT: withStub(env.TENANT, (name) => (name.startsWith("made-") ? neverAnswering() : undefined)),
      DIRECTORY: withStub(env.DIRECTORY, () => ({ list: async () => names })),
    };
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const started = Date.now();
    const answer = ask("/sessions", bindings);
    const { missing } = await advancingUntil(answer.then((response) => response.json<Status>()));
    expect(missing).toEqual(names);
    expect(Date.now() - started).toBeLessThanOrEqual(10_000);
  });

  const OVERVIEWS = ["/status", "/sessions", "/usage"];

  async function ask(path: string, bindings: Partial<Env>): Promise<Response> {
    const init = { headers: { Authorization: "Bearer key-of-the-owner" } };
    const url = `http://gateway.test/v1/admin${path}`;
    return await app.request(url, init, { ...env, ...bindings }, createExecutionContext());
  }

  /** Moves the clock, by seconds, until `done`. */
  async function advancingUntil<T>(done: Promise<T>): Promise<T> {
    let isDone = false;
    const ended = done.finally(() => {
      isDone = true;
    });
    while (!isDone) await vi.advanceTimersByTimeAsync(1_000);
    return await ended;
  }

  it("is closed to every other key", async () => {
    for (const path of ["/status", "/sessions"]) {
      expect((await order("GET", path, undefined, { key: "key-of-alice-for-tests" })).status).toBe(401);
    }
  });
});

it("tables of an older gateway get the columns that came later, in a real object too", async () => {
  await runInDurableObject(env.TENANT.getByName("old-tables"), (_, { storage }) => {
    const options = { ...storageOf(storage), now: () => 5, tenant: "old-tables", defaultBytes: 1 };
    const usage = { key: "k", end: "strict", at: 5, origin: "attic" } as const;
    new Ledger(options).counted(usage);
    const columns = () => storage.sql.exec("SELECT name FROM pragma_table_info('usage')").toArray().length;
    const before = columns();
    storage.sql.exec("ALTER TABLE usage DROP COLUMN origins");
    storage.sql.exec("ALTER TABLE live DROP COLUMN origin");
    const ledger = new Ledger(options);
    expect(columns()).toBe(before);
    expect(originShares(ledger, 0)).toEqual(new Map());
    ledger.counted(usage);
    expect(originShares(ledger, 0).get("attic")?.today).toEqual({ requests: 1, reattached: 0, ends: { strict: 1 } });
  });
});
