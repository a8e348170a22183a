import { describe, expect, it } from "vitest";
import { conversationOf, decodePathId, lookupMatches, parseOffset } from "../../src/protocol.ts";

describe("the from parameter is read as llama-server reads it", () => {
  it.each([
    [null, 0],
    ["", 0],
    ["0", 0],
    ["-0", 0],
    ["5", 5],
    [" 5", 5],
    ["\t\n\v\f\r 5", 5],
    ["+5", 5],
    ["10abc", 10],
    ["1.5", 1],
    ["0x10", 0],
    ["-1", Number.MAX_SAFE_INTEGER],
    ["18446744073709551615", Number.MAX_SAFE_INTEGER],
    ["0000000000000000000000000000007", 7],
  ])("%j is %d", (raw, offset) => {
    expect(parseOffset(raw)).toBe(offset);
  });

  it.each(["abc", "18446744073709551616", "-", "--1", "+-1"])("%j is no offset", (raw) => {
    expect(parseOffset(raw)).toBeUndefined();
  });
});

describe("conversation ids", () => {
  it("belong to the conversation before the first ::", () => {
    expect(conversationOf("conv7")).toBe("conv7");
    expect(conversationOf("conv7::tiny")).toBe("conv7");
    expect(conversationOf("conv7::org/model::q4")).toBe("conv7");
    expect(conversationOf("conv7::")).toBe("conv7");
    expect(conversationOf("::tiny")).toBe("::tiny");
  });

  it("are found by a lookup of the id itself and of what stands before any ::", () => {
    expect(lookupMatches("conv7", "conv7")).toBe(true);
    expect(lookupMatches("conv7", "conv7::tiny")).toBe(true);
    expect(lookupMatches("conv7::tiny", "conv7")).toBe(false);
    expect(lookupMatches("conv7", "conv77")).toBe(false);
    expect(lookupMatches("conv7", "conv7:tiny")).toBe(false);
    expect(lookupMatches("conv7::", "conv7::tiny")).toBe(false);
  });

  it("are percent-decoded once in a path, and a bad escape stays", () => {
    expect(decodePathId("a%2Fb")).toBe("a/b");
    expect(decodePathId("p%252Fq")).toBe("p%2Fq");
    expect(decodePathId("a+b")).toBe("a+b");
    expect(decodePathId("%E2%9A%93")).toBe("⚓");
    expect(decodePathId("50%")).toBe("50%");
    expect(decodePathId("%zz%41")).toBe("%zzA");
  });
});
