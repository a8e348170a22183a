import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { parseOrigins } from "../../src/origin/origins-config.ts";
import { originSettings, parseOrigin, urlProblem, withOrigins } from "../../tools/setup/origins.ts";

const TOML = readFileSync(resolve(import.meta.dirname, "../../wrangler.toml"), "utf8");
const URL = "https://llama.example.com";

function originsIn(toml: string): unknown {
  const { vars } = parse(toml);
  return JSON.parse((vars as { ORIGINS: string }).ORIGINS);
}

describe("the origins of the setup", () => {
  it("one on a hostname is ORIGIN_URL and its key, and no other line of wrangler.toml changes", () => {
    const settings = originSettings([{ name: "default", url: URL, key: "k" }]);
    expect(settings.secrets).toEqual({ ORIGIN_API_KEY: "k" });
    const changed = withOrigins(TOML, settings);
    expect(parse(changed)).toMatchObject({ vars: { ORIGIN_URL: URL, ORIGINS: "" } });
    expect(changed.split("\n").filter((line) => !TOML.includes(line))).toEqual([`ORIGIN_URL = "${URL}"`]);
    expect(withOrigins(changed, settings)).toBe(changed);
  });

  it("one behind Access is in ORIGINS, which names the secrets with the token", () => {
    const settings = originSettings([{ name: "attic", url: URL, access: { id: "i", secret: "s" } }]);
    expect(settings.secrets).toEqual({ ORIGIN_ATTIC_ACCESS_ID: "i", ORIGIN_ATTIC_ACCESS_SECRET: "s" });
    const changed = withOrigins(TOML, settings);
    expect(originsIn(changed)).toEqual([
      {
        name: "attic",
        url: URL,
        accessClientId: "ORIGIN_ATTIC_ACCESS_ID",
        accessClientSecret: "ORIGIN_ATTIC_ACCESS_SECRET",
      },
    ]);
    expect(withOrigins(changed, settings)).toBe(changed);
  });

  it("take the place of those of before, however these were written, one as well as several", () => {
    const several = originSettings([
      { name: "attic", url: URL },
      { name: "cellar", url: `${URL}/it's` },
    ]);
    const byHand = TOML.replace('ORIGINS = ""', `ORIGINS = '''[\n  { "name": "old", "url": "${URL}" }\n]'''`);
    const changed = withOrigins(byHand, several);
    expect(originsIn(changed)).toMatchObject([{ name: "attic" }, { url: `${URL}/it's` }]);
    expect(parse(withOrigins(changed, originSettings([{ name: "default", url: URL }])))).toMatchObject({
      vars: { ORIGIN_URL: URL, ORIGINS: "" },
    });
  });

  it("one by a VPC service gets a binding, once, and another id replaces it", () => {
    const by = (vpc: string) => originSettings([{ name: "default", url: "http://localhost", vpc }]);
    const once = withOrigins(TOML, by("id-1"));
    expect(parse(once)).toMatchObject({ vpc_services: [{ binding: "ORIGIN_DEFAULT_VPC", service_id: "id-1" }] });
    expect(parse(withOrigins(once, by("id-2"))).vpc_services).toEqual([
      { binding: "ORIGIN_DEFAULT_VPC", service_id: "id-2" },
    ]);
    expect(originsIn(once)).toMatchObject([{ via: "ORIGIN_DEFAULT_VPC" }]);
  });

  it("never set a secret that is not theirs, whatever they are called", () => {
    const { secrets } = originSettings([
      { name: "admin", url: URL, key: "k" },
      { name: "api", url: URL },
    ]);
    expect(Object.keys(secrets)).toEqual(["ORIGIN_ADMIN_KEY"]);
  });

  it("are taken by the Worker as they are written", () => {
    const given = [
      { name: "attic", url: URL, key: "k", access: { id: "i", secret: "s" } },
      { name: "cellar", url: "http://localhost", vpc: "id-1" },
    ];
    const ORIGIN_CELLAR_VPC = { fetch: () => Promise.reject(new Error("not asked here")) };
    const { secrets, vars } = originSettings(given);
    const bindings = { ...secrets, ...vars, ORIGIN_CELLAR_VPC };
    const origins = parseOrigins(bindings, (setting, details) => new Error(setting + details));
    expect(origins).toMatchObject([
      { name: "attic", url: URL, apiKey: "k", access: { clientId: "i", clientSecret: "s" } },
      { name: "cellar", via: ORIGIN_CELLAR_VPC },
    ]);
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
