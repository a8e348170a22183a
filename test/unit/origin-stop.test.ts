import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Origin } from "../../src/origin/origin.ts";

let server: Server;

afterEach(() => new Promise((done) => server.close(done)));

/** An origin that answers every DELETE so. */
async function startOrigin(status: number, contentType: string, body: string): Promise<Origin> {
  server = createServer((_, response) => void response.writeHead(status, { "content-type": contentType }).end(body));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return new Origin({ name: "o", url, via: undefined, models: [], weight: 1, apiKey: undefined, access: undefined });
}

describe("a stop that is answered", () => {
  const NOT_FOUND = '{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}';

  it.each([
    [204, "application/json", "", "acknowledged"],
    [404, "application/json", NOT_FOUND, "unsupported"],
    [404, "text/html", "<html>", "unreachable"],
    [200, "text/html", "<html>Welcome to this network</html>", "unreachable"],
    [200, "application/json", "{}", "unreachable"],
    [403, "text/html", "<html>", "unreachable"],
    [502, "text/html", "<html>", "unreachable"],
  ])("by %i %s %j is %s", async (status, contentType, body, result) => {
    const origin = await startOrigin(status, contentType, body);
    expect(await origin.stop("11111111-1111-4111-8111-111111111111")).toBe(result);
  });
});
