import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { describe, expect, it } from "vitest";
import { checkOrigin, originWarning } from "../../tools/origin-check.ts";
import { freePort } from "../../tools/ports.ts";

/** What `npm start` says of a server that answers like this. */
async function warningOf(answer: RequestListener, { key, limitMs = 2_000 }: { key?: string; limitMs?: number } = {}) {
  const port = await freePort();
  const server = createServer(answer);
  await once(server.listen(port, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${port}`;
  try {
    return originWarning(url, await checkOrigin(url, key, limitMs), key !== undefined)?.replaceAll(
      String(port),
      "PORT",
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A llama-server with an API key: /health is open, the rest is not. */
const locked: RequestListener = ({ url, headers }, response) => {
  const isAllowed = url === "/health" || headers.authorization === "Bearer right";
  response.writeHead(isAllowed ? 200 : 401).end(url === "/health" ? '{"status":"ok"}' : "{}");
};

describe("the check of the origin", () => {
  it("has nothing to say of one that is ready and takes the key", async () => {
    expect(await warningOf(locked, { key: "right" })).toBeUndefined();
  });

  it("tells a missing key from a wrong one", async () => {
    expect(await warningOf(locked)).toContain("wants an API key: set --origin-key or ORIGIN_API_KEY");
    expect(await warningOf(locked, { key: "wrong" })).toContain(
      "rejected the gateway's key (--origin-key / ORIGIN_API_KEY)",
    );
  });

  it("tells a model that loads from a server that is none of llama.cpp", async () => {
    const loading = '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}';
    expect(await warningOf((_, response) => response.writeHead(503).end(loading))).toContain("still loading its model");
    expect(await warningOf((_, response) => response.end("<html>"))).toContain("does not look like a llama-server");
  });

  it("tells refused, too slow and a name that does not exist apart", async () => {
    expect(await warningOf(() => {}, { limitMs: 50 })).toContain("127.0.0.1:PORT did not answer within 0.05 s");
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    const refused = await checkOrigin(nowhere, undefined, 2_000);
    expect(refused).toMatchObject({ why: expect.stringMatching(/^nothing listens on .* \(connection refused\)$/) });
    const unknown = await checkOrigin("http://gpu.invalid", undefined, 2_000);
    expect(unknown).toMatchObject({ is: "unreachable", why: "the host name gpu.invalid cannot be resolved" });
  });
});
