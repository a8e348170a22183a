import { describe, expect, it } from "vitest";
import { issueKey, verifyKey } from "../../../src/tenant/keys.ts";

const SECRET = "a".repeat(32);
const OLD_SECRET = "b".repeat(32);

describe("an issued key", () => {
  it.each(["alice", "a", "a_b_c", "_", "A.b-c_", "x".repeat(64)])("names its tenant %s", (tenant) => {
    const { key, hash } = issueKey(tenant, [SECRET]);
    expect(key).toMatch(new RegExp(`^hf_${tenant.replaceAll(".", "\\.")}_[A-Za-z0-9_-]{44}$`));
    expect(verifyKey(key, [SECRET])).toEqual({ tenant, hash });
  });

  it("is signed by the first secret, and verified by both", () => {
    const { key } = issueKey("alice", [OLD_SECRET]);
    expect(verifyKey(key, [SECRET, OLD_SECRET])?.tenant).toBe("alice");
    expect(verifyKey(issueKey("alice", [SECRET, OLD_SECRET]).key, [SECRET])?.tenant).toBe("alice");
    expect(verifyKey(key, [SECRET])).toBeUndefined();
    expect(verifyKey(key, [])).toBeUndefined();
  });

  it("is refused when any of its characters is another", () => {
    const { key } = issueKey("alice", [SECRET]);
    for (let at = 0; at < key.length; at++) {
      for (const other of ["A", "B", "_", "-", "/", "é"]) {
        if (key[at] === other) continue;
        const forged = key.slice(0, at) + other + key.slice(at + 1);
        expect(verifyKey(forged, [SECRET]), `${other} at ${at}`).toBeUndefined();
      }
    }
  });

  it("is not moved to another tenant", () => {
    const { key } = issueKey("alice", [SECRET]);
    expect(verifyKey(key.replace("alice", "alic"), [SECRET])).toBeUndefined();
    expect(verifyKey(key.replace("hf_alice", "hf_hf_alice"), [SECRET])).toBeUndefined();
  });

  it.each([
    "",
    "hf_",
    "hf__",
    `hf_${"x".repeat(44)}`,
    `hf__${"x".repeat(44)}`,
    `hf_a/b_${"x".repeat(44)}`,
    "x".repeat(10_000),
  ])("is not %s", (key) => {
    expect(verifyKey(key, [SECRET])).toBeUndefined();
  });
});
