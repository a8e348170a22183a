import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { issueKey } from "../../src/tenant/keys.ts";

const K1 = "key-1-of-the-phone";
const K2 = "key-2-of-the-laptop";
const K3 = "key-3-of-the-laptop";

const ENV = {
  ORIGIN_URL: "http://127.0.0.1:8080/",
  API_KEYS: `phone=${K1}, laptop=${K2}\nlaptop=${K3}`,
  SESSION_TTL_SECONDS: "3600",
  RETAINED_BYTES: "33554432",
  MAX_REQUEST_BYTES: "8388608",
  MAX_TENANT_REQUEST_BYTES: "33554432",
  RECONNECT_SECONDS: "290",
  ORIGIN_IDLE_SECONDS: "300",
  MAX_GENERATION_SECONDS: "21600",
  EXTRA_ROUTES: "GET:/slots POST:/slots/*",
  CORS_ORIGINS: "*",
  TENANT_STORED_BYTES: "2147483648",
  UI: "page",
};

/** What the log says of a configuration that is wrong; a client only hears which setting it is. */
function causeOf(wrong: Record<string, string>): string {
  try {
    parseConfig({ ...ENV, ...wrong });
  } catch (error) {
    const [setting] = Object.keys(wrong);
    expect((error as Error).message).toBe(`The gateway is misconfigured: ${setting} is wrong; see its log`);
    return ((error as Error).cause as Error).message;
  }
  throw new Error("The configuration was taken");
}

describe("the configuration", () => {
  it("turns the environment's strings into types", () => {
    const config = parseConfig(ENV);
    expect(config.origins.map(({ name, url }) => `${name} ${url}`)).toEqual(["default http://127.0.0.1:8080"]);
    expect(config.sessionTtlMs).toBe(3_600_000);
    expect(config.extraRoutes).toEqual(["GET:/slots", "POST:/slots/*"]);
  });

  it.each([
    ["ORIGIN_URL", "llama:8080", /ORIGIN_URL must be an http or https URL/],
    ["ORIGIN_URL", "http://host/?x=1", /without query/],
    ["API_KEYS", "", /API_KEYS is empty/],
    ["API_KEYS", "justakey", /`tenant=key` pairs/],
    ["API_KEYS", "a/b=key", /a tenant must be/],
    ["API_KEYS", "c2VjcmV0==", /the key of tenant "c2VjcmV0" has 1 characters; the minimum is 16/],
    ["API_KEYS", "a=only-15-letters", /the key of tenant "a" has 15 characters; the minimum is 16/],
    ["API_KEYS", "a=sk-for-development-only", /the key of tenant "a" is a published example/],
    ["API_KEYS", `a="${K1}"`, /the key of tenant "a" has a quote or a semicolon/],
    ["API_KEYS", `a='${K1}'`, /has a quote or a semicolon/],
    ["API_KEYS", `a=${K1};b=${K2}`, /has a quote or a semicolon/],
    ["API_KEYS", `a=${K1} b=${K1}`, /"a" and "b" have the same key/],
    ["SESSION_TTL_SECONDS", "-5", /SESSION_TTL_SECONDS must be a whole number from 1 to 2592000, got "-5"/],
    ["MAX_TENANT_REQUEST_BYTES", "8388607", /from 8388608 to 100000000, got "8388607"/],
    ["RETAINED_BYTES", "4MB", /RETAINED_BYTES must be a whole number/],
    ["EXTRA_ROUTES", "/slots", /"\/slots" is not METHOD:\/path/],
  ])("says what is wrong with %s=%j", (name, value, message) => {
    expect(causeOf({ [name]: value })).toMatch(message);
  });

  it("never shows a key in an error", () => {
    for (const API_KEYS of ["sk-secret", "sk-secret/x=phone", "a=sk-secret", "a=sk-secret-longer b=sk-secret-longer"]) {
      expect(causeOf({ API_KEYS })).not.toContain("sk-secret");
    }
  });
});

describe("the secret that signs issued keys", () => {
  const first = "a".repeat(32);
  const second = "b".repeat(32);

  it("may be two: the first signs, both verify", () => {
    const { keySecrets, keyring } = parseConfig({ ...ENV, KEY_SECRET: `${first} ${second}` });
    expect(keySecrets).toEqual([first, second]);
    const { key, hash } = issueKey("alice", [second]);
    const caller = keyring.authenticate(new Headers({ Authorization: `Bearer ${key}` }));
    expect(caller).toEqual({ tenant: "alice", keyHash: hash });
  });

  it("is none, and no key is issued or verified, where it is not set", () => {
    const { keySecrets, keyring, adminKey } = parseConfig(ENV);
    expect([keySecrets, adminKey]).toEqual([[], undefined]);
    const { key } = issueKey("alice", [first]);
    expect(keyring.authenticate(new Headers({ Authorization: key }))).toBeUndefined();
  });

  it.each([
    ["short", "KEY_SECRET: each value must have at least 32 characters"],
    [`${first} ${second} ${first}`, "KEY_SECRET holds 3 values; it may hold two"],
  ])("is refused: %s", (secret, cause) => {
    expect(causeOf({ KEY_SECRET: secret })).toBe(cause);
  });
});

describe("API keys", () => {
  const { keyring } = parseConfig(ENV);
  const tenantOf = (headers: Record<string, string>) => keyring.authenticate(new Headers(headers))?.tenant;

  it("are taken in the four forms of llama-server", () => {
    expect(tenantOf({ Authorization: `Bearer ${K1}` })).toBe("phone");
    expect(tenantOf({ Authorization: K2 })).toBe("laptop");
    expect(tenantOf({ "X-Api-Key": K3 })).toBe("laptop");
    expect(tenantOf({ "X-Api-Key": `Bearer ${K1}` })).toBe("phone");
  });

  it.each([
    {},
    { Authorization: `bearer ${K1}` },
    { Authorization: `Bearer  ${K1}` },
    { Authorization: `Basic ${K1}` },
    { Authorization: `Bearer ${K1.toUpperCase()}` },
    { Authorization: `Bearer ${K1},${K2}` },
    { Authorization: "Bearer wrong", "X-Api-Key": K1 },
    { "Api-Key": K1 },
  ])("are refused as in llama-server: %j", (headers) => {
    expect(tenantOf(headers as Record<string, string>)).toBeUndefined();
  });
});
