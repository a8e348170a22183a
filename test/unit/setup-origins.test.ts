import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { originSettings, parseOrigin, urlProblem, withOrigins } from "../../tools/setup/origins.ts";

const TOML = readFileSync(resolve(import.meta.dirname, "../../wrangler.toml"), "utf8");
const URL = "https://llama.example.com";

describe("the origins of the setup", () => {
  it("one on a hostname is ORIGIN_URL and its key, and no other line of wrangler.toml changes", () => {
    const settings = originSettings([{ name: "default", url: URL, key: "k" }]);
    expect(settings.secrets).toEqual({ ORIGIN_API_KEY: "k" });
    const changed = withOrigins(TOML, settings);
    expect(parse(changed)).toMatchObject({ vars: { ORIGIN_URL: URL } });
    expect(changed.split("\n").filter((line) => !TOML.includes(line))).toEqual([`ORIGIN_URL = "${URL}"`]);
    expect(withOrigins(changed, settings)).toBe(changed);
  });

  it("one behind Access is a secret that names the secrets with the token", () => {
    const settings = originSettings([{ name: "attic", url: URL, access: { id: "i", secret: "s" } }]);
    expect(settings.secrets).toMatchObject({ ATTIC_ACCESS_ID: "i", ATTIC_ACCESS_SECRET: "s" });
    expect(JSON.parse(settings.secrets.ORIGINS ?? "")).toEqual([
      { name: "attic", url: URL, accessClientId: "ATTIC_ACCESS_ID", accessClientSecret: "ATTIC_ACCESS_SECRET" },
    ]);
    expect(withOrigins(TOML, settings)).toBe(TOML);
  });

  it("one by a VPC service gets a binding, once, and another id replaces it", () => {
    const by = (vpc: string) => originSettings([{ name: "default", url: "http://localhost", vpc }]);
    const once = withOrigins(TOML, by("id-1"));
    expect(parse(once)).toMatchObject({ vpc_services: [{ binding: "DEFAULT_VPC", service_id: "id-1" }] });
    expect(parse(withOrigins(once, by("id-2"))).vpc_services).toEqual([{ binding: "DEFAULT_VPC", service_id: "id-2" }]);
    expect(JSON.parse(by("id-1").secrets.ORIGINS ?? "")).toMatchObject([{ via: "DEFAULT_VPC" }]);
  });

  it("have the names that they are given, or of their place", () => {
    expect(parseOrigin(`attic=${URL}/`, 0)).toEqual({ name: "attic", url: URL });
    expect(parseOrigin(URL, 0)).toEqual({ name: "default", url: URL });
    expect(parseOrigin(`${URL}/a`, 1)).toEqual({ name: "origin2", url: `${URL}/a` });
  });

  it.each([
    ["http://127.0.0.1:8080", /this machine: Cloudflare does not reach it/],
    ["http://localhost:8080", /this machine/],
    ["https://a-b-c.trycloudflare.com", /a Quick Tunnel, which holds streamed answers back/],
    ["llama.example.com", /must be an https URL/],
  ])("cannot be at %s", (url, problem) => {
    expect(urlProblem(url)).toMatch(problem);
    expect(urlProblem(URL)).toBeUndefined();
  });
});
