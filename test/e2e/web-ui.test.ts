/** UI=origin: the origin's own web UI through the gateway, for a browser that has no key yet. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { send } from "../support/http.ts";
import { Site } from "../support/site.ts";

const asked: { path: string | undefined; key: string | undefined }[] = [];
let server: Server;
let site: Site;

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push({ path: request.url, key: request.headers.authorization });
    if (request.headers["if-none-match"] === '"v1"') return response.writeHead(304, { ETag: '"v1"' }).end();
    if (request.url === "/favicon.svg")
      return response.writeHead(302, { Location: "https://elsewhere.example/" }).end();
    response.writeHead(200, { "Content-Type": "text/html", ETag: '"v1"', "Set-Cookie": "a=b" });
    return response.end("<title>llama.cpp</title>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => void server.close();
  site = await Site.start({ behind: { url, close }, vars: { UI: "origin" } });
});
afterAll(() => site.close());

describe("with UI=origin", () => {
  it("a browser gets the origin's page without a key, and nothing of ours", async () => {
    const answer = await get("/");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/html");
    expect(answer.headers.get("set-cookie")).toBeNull();
    expect(await answer.text()).toBe("<title>llama.cpp</title>");
    expect((await get("/_app/immutable/a.js")).status).toBe(200);
  });

  it("a browser that has a file is not sent it again", async () => {
    expect((await get("/", { "If-None-Match": '"v1"' })).status).toBe(304);
  });

  it("a redirect is not followed, nor passed on", async () => {
    expect((await get("/favicon.svg")).status).toBe(502);
  });

  it("all else wants a key, also what hides behind the name of a file", async () => {
    asked.length = 0;
    for (const path of [
      "/slots",
      "/metrics",
      "/props",
      "/v1/models",
      "/tools",
      "/_app",
      "/cors-proxy",
      "/index.html/slots",
    ]) {
      expect((await get(path)).status, path).toBe(401);
    }
    for (const path of ["/_app/../slots", "/_app/%2e%2e/slots", "/_app/..%2fslots"]) {
      const answer = await send("GET", site.url + path).answer;
      expect([401, 404], path).toContain(answer.status);
    }
    expect(asked).toEqual([]);
  });
});

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(site.url + path, { headers });
}
