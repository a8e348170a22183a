/**
 * What no well-meant client and no well-meant llama-server does: raw bytes on sockets, and an origin made for the case.
 * The rest of the world must not notice: 4xx or 502 with a reason, nothing from the origin that was not asked for, and no
 * exception in the log.
 */
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../tools/wait.ts";
import { send } from "../support/http.ts";
import { sendRaw, statusesIn } from "../support/raw-socket.ts";
import { KEY, OTHER_KEY, Site } from "../support/site.ts";

const AUTHORIZED = `Authorization: Bearer ${KEY}`;

const OK = (_: IncomingMessage, response: ServerResponse) => void response.end('{"ok":true}');

/** An origin that answers as the test says, and remembers what it was asked. */
class FakeOrigin {
  readonly requests: { method: string; url: string; body: string }[] = [];
  answer = OK;
  readonly #server: Server = createServer((request, response) => void this.#serve(request, response));

  static async start(): Promise<FakeOrigin> {
    const origin = new FakeOrigin();
    await new Promise<void>((done) => origin.#server.listen(0, "127.0.0.1", done));
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    this.requests.push({ method: request.method ?? "", url: request.url ?? "", body });
    this.answer(request, response);
  }
}

let origin: FakeOrigin;
let site: Site;

beforeAll(async () => {
  origin = await FakeOrigin.start();
  site = await Site.start({ behind: { url: origin.url, close: () => origin.close() } });
});

afterAll(async () => {
  await site.close();
});

/** Sends these lines and this body as they are, and gives what comes back. */
async function raw(lines: readonly string[], body = ""): Promise<{ status: number; answer: string }> {
  const answer = await sendRaw(site.url, `${lines.join("\r\n")}\r\n\r\n${body}`);
  return { status: statusesIn(answer)[0] ?? Number.NaN, answer };
}

/** What the gateway printed while `act` ran. */
async function logOf(act: () => Promise<void>): Promise<string> {
  const before = site.gateway.logs().length;
  await act();
  return site.gateway.logs().slice(before);
}

describe("a request", () => {
  const HOSTS = ["a\\slots?x=", "a\\metrics?x=", "a/slots?x=", "a#", "a@b", "a b", "[", "a:99999", "é", "a,b", ""];

  it.each(HOSTS)("whose Host is %j is 400, and goes nowhere", async (host) => {
    const before = origin.requests.length;
    const log = await logOf(async () => {
      const { status } = await raw(["GET /v1/models HTTP/1.1", `Host: ${host}`, AUTHORIZED]);
      expect(status).toBe(400);
    });
    expect(origin.requests.length).toBe(before);
    expect(log).toBe("");
  });

  it.each<[what: string, lines: string[], body: string]>([
    ["two Hosts", ["GET /v1/models HTTP/1.1", "Host: a", "Host: b"], ""],
    ["no Host", ["GET /v1/models HTTP/1.1"], ""],
    ["a body that breaks off", ["POST /tokenize HTTP/1.1", "Host: a", "Content-Length: 10"], "abc"],
    ["a chunk without a size", ["POST /tokenize HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], "zz\r\nabc"],
    ["a chunk of another size", ["POST /tokenize HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], "3\r\nabcde\r\n"],
    [
      "a chunked body without its end",
      ["POST /tokenize HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"],
      "3\r\nabc",
    ],
    ["a length that is no number", ["POST /tokenize HTTP/1.1", "Host: a", "Content-Length: x"], "abc"],
  ])("with %s is 400 without an exception", async (_, lines, body) => {
    const before = origin.requests.length;
    const log = await logOf(async () => {
      const { status } = await raw([...lines, AUTHORIZED], body);
      expect(status).toBe(400);
    });
    expect(origin.requests.length).toBe(before);
    expect(log).toBe("");
  });

  it.each([
    ["GET http://other/v1/models HTTP/1.1", 200, "/v1/models"],
    ["GET http://other/slots HTTP/1.1", 404, undefined],
    ["GET /v1\\models HTTP/1.1", 200, "/v1/models"],
    ["GET /v1/models/../../slots HTTP/1.1", 404, undefined],
    ["GET /x/../v1/models HTTP/1.1", 200, "/v1/models"],
    ["GET //v1/models HTTP/1.1", 404, undefined],
    ["GET /v1/m%6fdels HTTP/1.1", 404, undefined],
  ])("%s is %i, and what is matched is what is forwarded", async (line, status, forwarded) => {
    const before = origin.requests.length;
    expect((await raw([line, "Host: a", AUTHORIZED])).status).toBe(status);
    expect(origin.requests[before]?.url).toBe(forwarded);
  });

  it.each(["GET", "HEAD"])("by %s that has a body is answered, without it", async (method) => {
    const before = origin.requests.length;
    const { status } = await raw([`${method} /v1/models HTTP/1.1`, "Host: a", AUTHORIZED, "Content-Length: 3"], "abc");
    expect(status).toBe(200);
    expect(origin.requests[before]).toEqual({ method, url: "/v1/models", body: "" });
  });

  it("by CONNECT leads nowhere and leaves no exception", async () => {
    const before = origin.requests.length;
    const log = await logOf(async () => {
      const { answer } = await raw(["CONNECT 127.0.0.1:80 HTTP/1.1", "Host: 127.0.0.1:80"]);
      expect(answer.split("\r\n\r\n")[1] ?? "").toBe("");
    });
    expect(log).toBe("");
    expect(origin.requests.length).toBe(before);
  });

  it("of 33 MB is told so, also to a client that sends before it reads", async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      const answer = await fetch(`${site.url}/tokenize`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}` },
        body: Buffer.alloc(33_600_000, "x"),
      });
      expect(answer.status).toBe(413);
      expect(await answer.json()).toMatchObject({
        error: { message: "The request body is 33600000 bytes; the limit is 8388608 bytes" },
      });
    }
  });

  it("whose tenant already sends 32 MiB is 429, and another tenant's is not", async () => {
    const half = { headers: { "content-length": "8388608" } };
    const sending = Array.from({ length: 4 }, () => begin(KEY, half.headers));
    const ask = (key: string) =>
      send("POST", `${site.url}/tokenize`, { headers: { authorization: `Bearer ${key}` }, body: { content: "a" } })
        .answer;
    const refused = await until(async () => {
      const answer = await ask(KEY);
      return answer.status === 429 && answer;
    }, "the tenant's budget is taken");
    expect(refused.headers["retry-after"]).toBe("1");
    expect(await refused.json()).toMatchObject({
      error: { type: "rate_limit_exceeded", message: /hold 33554432 bytes .* the limit of 33554432 bytes/ },
    });
    expect((await ask(OTHER_KEY)).status).toBe(200);
    for (const request of sending) request.destroy();
    await until(async () => (await ask(KEY)).status === 200, "the budget is free again");
  });
});

/** A request whose body does not come. */
function begin(key: string, headers: Record<string, string>): ClientRequest {
  const started = request(`${site.url}/tokenize`, {
    method: "POST",
    agent: false,
    headers: { authorization: `Bearer ${key}`, ...headers },
  });
  // It is destroyed in the end.
  started.on("error", () => {});
  started.write("x");
  return started;
}

describe("hostile JSON of 8 MiB", () => {
  /** Not JSON in its last byte: all of it is read, and nothing else is done with it. */
  const fill = (before: string, unit: string) => before + unit.repeat((8_388_608 - before.length) / unit.length);

  it.each([
    ["small arrays", fill('{"messages":[', "[],")],
    ["fields", fill("{", '"stream":0,')],
  ])("of %s, twice at once, lets another tenant's requests pass meanwhile", async (_, body) => {
    const headers = { authorization: `Bearer ${KEY}`, "x-conversation-id": "c" };
    const hostile = [1, 2].map(() => send("POST", `${site.url}/v1/completions`, { headers, body }).answer);
    let isOver = false;
    const answered = Promise.all(hostile).finally(() => {
      isOver = true;
    });
    let meanwhile = 0;
    while (!isOver) {
      await send("GET", `${site.url}/v1/models`, { headers: { authorization: `Bearer ${OTHER_KEY}` } }).answer;
      meanwhile += Number(!isOver);
    }
    for (const answer of await answered) expect(answer.status).toBe(400);
    // A parser that does not let go of the thread lets one pass: that which it found waiting.
    expect(meanwhile).toBeGreaterThanOrEqual(3);
  });
});

describe("an origin on the strict path", () => {
  it.each<[what: string, answer: string]>([
    ["101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    ["999", "HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\nhi"],
    ["no HTTP at all", "lorem ipsum\r\n\r\n"],
    ["an end", ""],
  ])("that answers with %s is 502, and a POST is not sent again", async (_, bytes) => {
    origin.answer = ({ socket }) => void socket.end(bytes);
    try {
      const posts = () => origin.requests.filter(({ method }) => method === "POST").length;
      const before = posts();
      const { status } = await raw(["POST /tokenize HTTP/1.1", "Host: a", AUTHORIZED, "Content-Length: 2"], "{}");
      expect(status).toBe(502);
      expect(posts()).toBe(before + 1);
    } finally {
      origin.answer = OK;
    }
  });

  it("that refuses connections is two lines of the log: why, and that it is away", async () => {
    const away = await Site.start({ behind: { url: "http://127.0.0.1:1", close: async () => {} } });
    try {
      const headers = { authorization: `Bearer ${KEY}` };
      const { answer } = send("POST", `${away.url}/tokenize`, { headers, body: { content: "a" } });
      expect((await answer).status).toBe(502);
      const lines = () => away.gateway.logs().trim().split("\n");
      await until(() => lines().length > 1, "the gateway has said both");
      expect(lines().toSorted()).toEqual([
        expect.stringMatching(/^origin unreachable: POST failed after \d+ ms: Network connection lost\.$/),
        '{"event":"origin_away","origin":"default"}',
      ]);
    } finally {
      await away.close();
    }
  });
});
