import { describe, expect, it } from "vitest";
import { namedOrigin, originsSetting, secretsNamedIn } from "../../tools/named-origins.ts";

describe("--origin", () => {
  it("may name its origin", () => {
    expect(namedOrigin("attic=http://10.0.0.7:8080")).toEqual({ name: "attic", url: "http://10.0.0.7:8080" });
    expect(namedOrigin("attic=https://a.example/?x=1")).toEqual({ name: "attic", url: "https://a.example/?x=1" });
  });

  it.each(["http://10.0.0.7:8080", "http://a.example/?x=http://b", "attic", "attic=", "=http://a", "attic=10.0.0.7"])(
    "does not in %s",
    (option) => {
      expect(namedOrigin(option)).toBeUndefined();
    },
  );

  it("given several times is ORIGINS, all with the one key if there is one", () => {
    const origins = [
      { name: "attic", url: "http://a" },
      { name: "cellar", url: "http://b" },
    ];
    expect(JSON.parse(originsSetting(origins, undefined))).toEqual(origins);
    expect(JSON.parse(originsSetting(origins, "ORIGIN_API_KEY"))).toEqual(
      origins.map((origin) => ({ ...origin, apiKey: "ORIGIN_API_KEY" })),
    );
  });
});

it("the secrets of ORIGINS are those that it names, whatever else it is", () => {
  const origins = [{ apiKey: "A" }, { accessClientId: "B", accessClientSecret: "C", url: "D" }, 7, null, { apiKey: 7 }];
  expect(secretsNamedIn(JSON.stringify(origins))).toEqual(["A", "B", "C"]);
  for (const text of ["", "{", "7", "{}"]) expect(secretsNamedIn(text)).toEqual([]);
});
