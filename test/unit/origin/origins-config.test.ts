import { describe, expect, it } from "vitest";
import { parseOrigins } from "../../../src/origin/origins-config.ts";

const ENV = { ORIGIN_URL: "http://127.0.0.1:8080/", ATTIC_KEY: "sk-1", ACCESS_ID: "id", ACCESS_SECRET: "hush" };
const BINDING = { fetch: () => Promise.resolve(new Response()) };

function parse(origins: unknown, more: object = {}) {
  const ORIGINS = typeof origins === "string" ? origins : JSON.stringify(origins);
  return parseOrigins({ ...ENV, ORIGINS, ...more }, (setting, details) => new Error(setting + details));
}
const attic = (more: object = {}) => ({ name: "attic", url: "https://attic.example", ...more });

describe("ORIGINS", () => {
  it("may be left out: ORIGIN_URL and ORIGIN_API_KEY then make one origin, named default", () => {
    const [origin, ...others] = parse("", { ORIGIN_API_KEY: "sk-0" });
    expect(others).toEqual([]);
    expect(origin).toEqual({
      ...{ name: "default", url: "http://127.0.0.1:8080", via: undefined, models: [], weight: 1, apiKey: "sk-0" },
      access: undefined,
    });
  });

  it("is a list of origins with what each needs", () => {
    const full = attic({
      ...{ via: "MESH", models: ["qwen*"], weight: 2.5, apiKey: "ATTIC_KEY" },
      ...{ accessClientId: "ACCESS_ID", accessClientSecret: "ACCESS_SECRET" },
    });
    expect(parse([full, { name: "cellar", url: "http://10.0.0.7:8080/llama/" }], { MESH: BINDING })).toEqual([
      {
        ...{
          name: "attic",
          url: "https://attic.example",
          via: BINDING,
          models: ["qwen*"],
          weight: 2.5,
          apiKey: "sk-1",
        },
        access: { clientId: "id", clientSecret: "hush" },
      },
      {
        ...{ name: "cellar", url: "http://10.0.0.7:8080/llama", via: undefined, models: [], weight: 1 },
        ...{ apiKey: undefined, access: undefined },
      },
    ]);
  });

  it.each([
    ["[", /^ORIGINS is not JSON/],
    [{}, /^ORIGINS must be a JSON array of at least one origin/],
    [[], /^ORIGINS must be a JSON array/],
    [Array.from({ length: 33 }, (_, i) => attic({ name: `o${i}` })), /^ORIGINS has 33 origins; the limit is 32/],
    [["http://a"], /^ORIGINS\[0\] must be an object/],
    [[attic(), attic({ name: "b", wieght: 2 })], /^ORIGINS\[1\]\.wieght is no field of an origin/],
    [[attic({ name: "a b" })], /^ORIGINS\[0\]\.name must be 1 to 32 of/],
    [[attic({ name: undefined })], /^ORIGINS\[0\]\.name/],
    [[attic(), attic()], /^ORIGINS\[1\]\.name "attic" is the name of ORIGINS\[0\] too/],
    [[attic({ url: "attic.example" })], /^ORIGINS\[0\]\.url must be an http or https URL/],
    [[attic({ url: "https://attic.example/?a=b" })], /^ORIGINS\[0\]\.url .* without query/],
    [[attic({ weight: 0 })], /^ORIGINS\[0\]\.weight must be a number above 0, at most 1000, got 0/],
    [[attic({ weight: "2" })], /^ORIGINS\[0\]\.weight .* got "2"/],
    [[attic({ models: "qwen" })], /^ORIGINS\[0\]\.models must be a list/],
    [[attic({ models: [] })], /^ORIGINS\[0\]\.models must be a list/],
    [[attic({ models: ["a", 7] })], /^ORIGINS\[0\]\.models\[1\]/],
    [[attic({ via: "NOPE" })], /^ORIGINS\[0\]\.via must name a binding that has fetch.*got "NOPE"/],
    [[attic({ via: "ATTIC_KEY" })], /^ORIGINS\[0\]\.via/],
    [[attic({ apiKey: "NOT_SET" })], /^ORIGINS\[0\]\.apiKey must be the name of a secret, and that secret must be set/],
    [[attic({ accessClientId: "ACCESS_ID" })], /^ORIGINS\[0\]\.accessClientSecret is missing/],
    [[attic({ accessClientSecret: "ACCESS_SECRET" })], /^ORIGINS\[0\]\.accessClientId is missing/],
  ])("is wrong as %j, and says which field", (origins, message) => {
    expect(() => parse(origins)).toThrow(message);
  });

  it("never shows what stands where a secret's name belongs", () => {
    for (const field of ["apiKey", "accessClientId", "accessClientSecret"]) {
      expect(() => parse([attic({ [field]: "sk-secret" })])).toThrow(/^(?!.*sk-secret)/);
    }
  });
});
