/** The routes in front of the objects, towards an origin that answers as the test says: `fetch` is the only way out. */
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { app } from "../../src/app.ts";
import { chat } from "./client.ts";

const KEY = "key-of-alice-for-tests";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Each fetch of the gateway is answered by the next of these; the last one answers all that follow. */
function originAnswers(...answers: (() => Response)[]) {
  const fetched = vi.fn(async (_url: string, _init: RequestInit) =>
    (answers.length > 1 ? answers.shift() : answers[0])?.(),
  );
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

function sentTo(fetched: ReturnType<typeof originAnswers>, path: string): number {
  return fetched.mock.calls.filter(([url]) => url === env.ORIGIN_URL + path).length;
}

function broken(): Response {
  throw new Error("Network connection lost.");
}

async function ask(method: string, path: string, init: RequestInit = {}, vars: Partial<Env> = {}): Promise<Response> {
  const headers = { Authorization: `Bearer ${KEY}`, ...init.headers };
  return app.request(`http://gateway.test${path}`, { ...init, method, headers }, { ...env, ...vars });
}

const errorOf = async (response: Response) => ((await response.json()) as { error: { message: string } }).error;

describe("an answer of the origin on the strict path", () => {
  it("has the origin's body and status, and of its headers only what a client needs", async () => {
    originAnswers(
      () =>
        new Response("body", {
          status: 418,
          headers: {
            "Content-Type": "text/x",
            "X-Accel-Buffering": "no",
            "Retry-After": "7",
            "Holdfast-Session": "spoofed",
            "Access-Control-Allow-Origin": "https://evil.example",
            "Cache-Control": "public, max-age=600",
            "Clear-Site-Data": '"*"',
            "Set-Cookie": "a=b",
            "Strict-Transport-Security": "max-age=1",
            "WWW-Authenticate": "Basic",
            "Alt-Svc": 'h3=":443"',
            "X-Should-Retry": "true",
            Link: "<https://evil.example>",
            Refresh: "0; url=https://evil.example",
            Server: "llama.cpp",
            Via: "1.1 private-host",
          },
        }),
    );
    const answer = await ask("GET", "/v1/models");
    expect(answer.status).toBe(418);
    expect(await answer.text()).toBe("body");
    const { "access-control-expose-headers": _, ...headers } = Object.fromEntries(answer.headers);
    expect(headers).toEqual({
      "content-type": "text/x",
      "x-accel-buffering": "no",
      "retry-after": "7",
      "holdfast-origin": "default",
      "cache-control": "no-store",
      vary: "Origin",
      "access-control-allow-origin": "*",
    });
  });

  it.each([301, 302, 307, 308])("that is a redirect (%i) is 502, and leads nobody anywhere", async (status) => {
    const fetched = originAnswers(() => new Response(null, { status, headers: { Location: "http://other/" } }));
    const answer = await ask("POST", "/tokenize", { body: "{}" });
    expect(answer.status).toBe(502);
    expect(answer.headers.has("Location")).toBe(false);
    expect(await errorOf(answer)).toMatchObject({ type: "origin_unreachable", message: /a redirect, .* ORIGIN_URL/ });
    expect(fetched).toHaveBeenCalledOnce();
    expect(fetched.mock.calls[0]?.[1].redirect).toBe("manual");
  });

  it("of 401 is about the gateway's key, and says how to set it", async () => {
    originAnswers(() => Response.json({ error: { code: 401, message: "Invalid API Key" } }, { status: 401 }));
    const answer = await ask("GET", "/v1/models");
    expect(answer.status).toBe(502);
    expect((await errorOf(answer)).message).toMatch(/rejected the gateway's key .*--origin-key or ORIGIN_API_KEY/);
  });

  it("of 401 that is an ingress's page is not about the gateway's key", async () => {
    originAnswers(() => new Response("<html>", { status: 401, headers: { "Content-Type": "text/html" } }));
    const answer = await ask("GET", "/v1/models");
    expect(answer.status).toBe(502);
    expect((await errorOf(answer)).message).toMatch(/in front of the llama-server answered 401 \(text\/html\)/);
  });
});

describe("a request on the strict path", () => {
  it.each(["GET", "HEAD"])("by %s goes without its body", async (method) => {
    const fetched = originAnswers(() => new Response("{}"));
    const request = new Request("http://gateway.test/v1/models?model=a%20b", {
      method,
      headers: { Authorization: `Bearer ${KEY}` },
    });
    expect((await app.request(request, {}, env)).status).toBe(200);
    const [url, init] = fetched.mock.calls[0] ?? [];
    expect(url).toBe(`${env.ORIGIN_URL}/v1/models?model=a%20b`);
    expect(init?.body).toBeUndefined();
  });

  it("is not sent again to a server that is gone, and said to have failed in one line", async () => {
    const log = vi.spyOn(console, "error").mockReturnValue();
    const fetched = originAnswers(broken);
    const answer = await ask("POST", "/tokenize", { body: "{}" });
    expect(answer.status).toBe(502);
    expect(sentTo(fetched, "/tokenize")).toBe(1);
    expect(log.mock.calls).toEqual([
      [expect.stringMatching(/^origin unreachable: POST failed after \d+ ms: Network connection lost\.$/)],
    ]);
  });

  it.each([
    ["GET", "/v1/models"],
    ["POST", "/tokenize"],
  ])("is sent once more to a server that is there: %s %s", async (method, path) => {
    vi.spyOn(console, "error").mockReturnValue();
    const fetched = originAnswers(broken, () => new Response("{}"));
    expect((await ask(method, path, method === "POST" ? { body: "{}" } : {})).status).toBe(200);
    expect(sentTo(fetched, path)).toBe(2);
  });

  it("is sent no third time", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const fetched = originAnswers(broken, () => new Response("{}"), broken);
    expect((await ask("POST", "/tokenize", { body: "{}" })).status).toBe(502);
    expect(sentTo(fetched, "/tokenize")).toBe(2);
  });
});

describe("an Idempotency-Key", () => {
  it("that is empty is none: the next request is no retry of this one", async () => {
    const headers = { "Idempotency-Key": "" };
    const first = await chat("empty-key", { tokens: 2 }, { headers });
    const second = await chat("empty-key", { tokens: 3 }, { headers });
    expect([first.status, second.status]).toEqual([200, 200]);
    await Promise.all([first.text(), second.text()]);
  });
});

describe("a request's body", () => {
  it("that is compressed is not unpacked: it is no JSON", async () => {
    const fetched = originAnswers(() => new Response("{}"));
    const packed = new Response('{"messages":[],"stream":true}').body?.pipeThrough(new CompressionStream("gzip"));
    const body = await new Response(packed ?? null).arrayBuffer();
    const headers = { "Content-Encoding": "gzip", "X-Conversation-Id": "packed" };
    expect((await ask("POST", "/v1/chat/completions", { body, headers })).status).toBe(400);
    expect(fetched).not.toHaveBeenCalled();
  });
});

describe("a route that is not passed through", () => {
  it.each(["/tools", "/cors-proxy"])("%s is 403, in llama-server's words", async (path) => {
    const answer = await ask("GET", path);
    expect(answer.status).toBe(403);
    expect(await errorOf(answer)).toMatchObject({ message: "this feature is disabled", type: "feature_disabled" });
  });

  it("says who could open it", async () => {
    const answer = await ask("GET", "/metrics");
    expect(answer.status).toBe(404);
    expect((await errorOf(answer)).message).toBe("No such route, or not opened by EXTRA_ROUTES");
  });

  it("is not reached from an opened folder by an encoded way out of it", async () => {
    const fetched = originAnswers(() => new Response("{}"));
    const vars = { EXTRA_ROUTES: "GET:/slots/*" };
    expect((await ask("GET", "/slots/0", {}, vars)).status).toBe(200);
    for (const path of ["/slots/..%2fprops", "/slots/%2e%2e/metrics", "/slots/..%5cprops", "/slots/../metrics"]) {
      expect((await ask("GET", path, {}, vars)).status).toBe(404);
    }
    expect(fetched).toHaveBeenCalledOnce();
  });
});

describe("a gateway whose settings are wrong", () => {
  const KEYLESS: [string, Partial<Env>][] = [
    ["no API_KEYS and no KEY_SECRET", { API_KEYS: "", KEY_SECRET: "" }],
    ["API_KEYS that are none", { API_KEYS: "a=short" }],
  ];
  const BROKEN: [string, Partial<Env>][] = [...KEYLESS, ["a wrong ORIGIN_URL", { ORIGIN_URL: "secret-place" }]];

  it.each(KEYLESS)("with %s is up, for browsers too", async (_, vars) => {
    vi.spyOn(console, "error").mockReturnValue();
    const answer = await ask("GET", "/health", {}, vars);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("Access-Control-Allow-Origin")).toBe("*");
  });

  it.each(BROKEN)("with %s answers preflights", async (_, vars) => {
    vi.spyOn(console, "error").mockReturnValue();
    const headers = { Origin: "https://app.example", "Access-Control-Request-Method": "POST" };
    const answer = await ask("OPTIONS", "/v1/chat/completions", { headers }, vars);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("Access-Control-Allow-Headers")).toMatch(/Authorization/);
  });

  it.each(BROKEN)("with %s says which one it is, once in the log, and never its value", async (_, vars) => {
    const log = vi.spyOn(console, "error").mockReturnValue();
    const [setting = ""] = Object.keys(vars);
    const bindings = { ...env, ...vars };
    for (let request = 0; request < 3; request++) {
      const answer = await app.request("http://gateway.test/v1/models", {}, bindings);
      expect(answer.status).toBe(500);
      expect(answer.headers.get("Access-Control-Allow-Origin")).toBe("*");
      expect((await errorOf(answer)).message).toBe(`The gateway is misconfigured: ${setting} is wrong; see its log`);
    }
    expect(log).toHaveBeenCalledOnce();
  });

  it("in anything but its keys is not healthy", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const answer = await ask("GET", "/health", {}, { ORIGIN_URL: "secret-place" });
    expect(answer.status).toBe(500);
    expect(await errorOf(answer)).toEqual({
      code: 500,
      message: "The gateway is misconfigured: ORIGIN_URL is wrong; see its log",
      type: "server_error",
    });
  });
});
