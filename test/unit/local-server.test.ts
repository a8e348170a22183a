import { describe, expect, it } from "vitest";
import { address, localProblem, vpcTarget } from "../../tools/setup/local-server.ts";

describe("the llama-server behind a tunnel", () => {
  it.each([
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080", "--http-port 8080 --ipv4 127.0.0.1"],
    ["http://10.0.0.7", "http://10.0.0.7:80", "--http-port 80 --ipv4 10.0.0.7"],
    ["http://localhost:8080/", "http://localhost:8080", "--http-port 8080 --ipv4 127.0.0.1"],
    ["https://llama.lan", "https://llama.lan:443", "--https-port 443 --hostname llama.lan"],
    ["https://llama.lan:443", "https://llama.lan:443", "--https-port 443 --hostname llama.lan"],
    ["https://llama.lan:8443", "https://llama.lan:8443", "--https-port 8443 --hostname llama.lan"],
    ["http://llama.lan:443", "http://llama.lan:443", "--http-port 443 --hostname llama.lan"],
    ["https://[fd00::7]", "https://[fd00::7]:443", "--https-port 443 --ipv6 fd00::7"],
  ])("%s is %s to cloudflared, and a VPC service with %s", (local, url, target) => {
    expect(localProblem(local)).toBeUndefined();
    expect(address(local)).toBe(url);
    expect(vpcTarget(local)).toBe(target);
  });

  it.each([
    ["127.0.0.1:8080", /a URL like/],
    ["ftp://127.0.0.1", /a URL like/],
    ["http://127.0.0.1:8080/v1", /HOST:PORT/],
    ["http://me:secret@127.0.0.1:8080", /HOST:PORT/],
    ["http://127.0.0.1:8080?x=1", /HOST:PORT/],
  ])("is not at %s", (local, problem) => {
    expect(localProblem(local)).toMatch(problem);
  });
});
