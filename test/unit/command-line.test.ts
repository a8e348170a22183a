import { afterEach, describe, expect, it, vi } from "vitest";
import { fromEnvironment } from "../../tools/command-line.ts";

afterEach(() => vi.unstubAllEnvs());

describe("a variable of the environment", () => {
  it("that is empty counts as not set", () => {
    vi.stubEnv("HOLDFAST_KEY", "");
    expect(fromEnvironment("HOLDFAST_KEY")).toBeUndefined();
    vi.stubEnv("HOLDFAST_KEY", "sk-of-a-test");
    expect(fromEnvironment("HOLDFAST_KEY")).toBe("sk-of-a-test");
  });
});
