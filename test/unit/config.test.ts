import { describe, expect, it, vi } from "vitest";
import { parseConfig } from "../../src/config.ts";

const ENV = {
  ORIGIN_URL: "http://127.0.0.1:8080/",
  API_KEYS: "phone=k1, laptop=k2\nlaptop=k3",
  SESSION_TTL_SECONDS: "3600",
  RETAINED_BYTES: "33554432",
  MAX_REQUEST_BYTES: "33554432",
  RECONNECT_SECONDS: "290",
  ORIGIN_IDLE_SECONDS: "300",
  MAX_GENERATION_SECONDS: "21600",
  EXTRA_ROUTES: "GET:/slots POST:/slots/*",
  CORS_ORIGINS: "*",
};

/** What the log says of a configuration that is wrong; the client only hears that it is. */
function causeOf(wrong: Record<string, string>): string {
  vi.spyOn(console, "error").mockReturnValue();
  try {
    parseConfig({ ...ENV, ...wrong });
  } catch (error) {
    expect((error as Error).message).toBe("The gateway's configuration is wrong; its log says what");
    return ((error as Error).cause as Error).message;
  }
  throw new Error("The configuration was taken");
}

describe("the configuration", () => {
  it("turns the environment's strings into types", () => {
    const config = parseConfig(ENV);
    expect(config.origin).toEqual({ url: "http://127.0.0.1:8080", apiKey: undefined });
    expect(config.sessionTtlMs).toBe(3_600_000);
    expect(config.extraRoutes).toEqual(["GET:/slots", "POST:/slots/*"]);
  });

  it.each([
    ["ORIGIN_URL", "llama:8080", /ORIGIN_URL must be an http or https URL/],
    ["ORIGIN_URL", "http://host/?x=1", /without query/],
    ["API_KEYS", "", /API_KEYS is empty/],
    ["API_KEYS", "justakey", /`tenant=key` pairs/],
    ["API_KEYS", "a/b=key", /a tenant must be/],
    ["API_KEYS", "c2VjcmV0==", /the key of tenant "c2VjcmV0" is no key/],
    ["API_KEYS", "a=key b=key", /"a" and "b" have the same key/],
    ["SESSION_TTL_SECONDS", "-5", /SESSION_TTL_SECONDS must be a whole number from 1 to 2592000, got "-5"/],
    ["RETAINED_BYTES", "4MB", /RETAINED_BYTES must be a whole number/],
    ["EXTRA_ROUTES", "/slots", /"\/slots" is not METHOD:\/path/],
  ])("says what is wrong with %s=%j", (name, value, message) => {
    expect(causeOf({ [name]: value })).toMatch(message);
  });

  it("never shows a key in an error", () => {
    for (const API_KEYS of ["sk-secret", "sk-secret/x=phone", "a=sk-secret b=sk-secret"]) {
      expect(causeOf({ API_KEYS })).not.toContain("sk-secret");
    }
  });
});

describe("API keys", () => {
  const { keyring } = parseConfig(ENV);
  const tenantOf = (headers: Record<string, string>) => keyring.authenticate(new Headers(headers));

  it("are taken in the four forms of llama-server", () => {
    expect(tenantOf({ Authorization: "Bearer k1" })).toBe("phone");
    expect(tenantOf({ Authorization: "k2" })).toBe("laptop");
    expect(tenantOf({ "X-Api-Key": "k3" })).toBe("laptop");
    expect(tenantOf({ "X-Api-Key": "Bearer k1" })).toBe("phone");
  });

  it.each([
    {},
    { Authorization: "bearer k1" },
    { Authorization: "Bearer  k1" },
    { Authorization: "Basic k1" },
    { Authorization: "Bearer K1" },
    { Authorization: "Bearer k1,k2" },
    { Authorization: "Bearer wrong", "X-Api-Key": "k1" },
    { "Api-Key": "k1" },
  ])("are refused as in llama-server: %j", (headers) => {
    expect(() => tenantOf(headers as Record<string, string>)).toThrow("Invalid API Key");
  });
});
