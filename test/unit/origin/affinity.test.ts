import { describe, expect, it } from "vitest";
import { affinityKey } from "../../../src/origin/affinity.ts";

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const SYSTEM = { role: "system", content: 'You are "kind" \\ and {brief}.' };
const chat = (...contents: string[]) =>
  bytes([SYSTEM, ...contents.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content }))]);
const keyOf = (prompt: Uint8Array, headers: Record<string, string> = {}, cacheKey?: string) =>
  affinityKey(new Headers(headers), cacheKey, prompt);

describe("the affinity of a request without a conversation id", () => {
  it("is the thread that an agent names in a header, whatever the prompt", () => {
    for (const name of ["thread-id", "x-claude-code-session-id", "x-session-affinity", "x-session-id", "session-id"]) {
      expect(keyOf(chat("a"), { [name]: "t1" })).toBe(keyOf(chat("b"), { [name]: "t1" }, "cache"));
      expect(keyOf(chat("a"), { [name]: "t1" })).not.toBe(keyOf(chat("a"), { [name]: "t2" }));
    }
  });

  it("is another one for each subagent of a session", () => {
    const session = { "x-claude-code-session-id": "s" };
    const agent = keyOf(chat("a"), { ...session, "x-claude-code-agent-id": "a1" });
    expect(agent).not.toBe(keyOf(chat("a"), session));
    expect(agent).toBe(keyOf(chat("b"), { ...session, "x-claude-code-agent-id": "a1" }));
  });

  it("is not an id that is new for every request", () => {
    expect(keyOf(chat("a"), { "x-client-request-id": "1" })).toBe(keyOf(chat("a"), { "x-client-request-id": "2" }));
  });

  it("is prompt_cache_key where no header names a thread", () => {
    expect(keyOf(chat("a"), {}, "k")).toBe(keyOf(chat("b"), {}, "k"));
    expect(keyOf(chat("a"), {}, "k")).not.toBe(keyOf(chat("a"), {}, "l"));
  });

  it("is else the chat up to its first question, which all turns have in common", () => {
    const first = keyOf(chat("What is the sea?"));
    expect(keyOf(chat("What is the sea?", "Water.", "And salt?"))).toBe(first);
    expect(keyOf(chat("What is the sky?"))).not.toBe(first);
  });

  it("is not misled by braces and quotes in the text, or by a question that has its own fields last", () => {
    const tricky = [
      { role: "system", content: '}"role":"user"{' },
      { content: [{ type: "text", text: "a}" }], role: "user" },
    ];
    const later = [...tricky, { role: "assistant", content: "b" }];
    expect(keyOf(bytes(tricky))).toBe(keyOf(bytes(later)));
  });

  it("is, of a prompt that is text, its beginning", () => {
    expect(keyOf(bytes("a".repeat(70_000)))).toBe(keyOf(bytes("a".repeat(80_000))));
    expect(keyOf(bytes("once"))).not.toBe(keyOf(bytes("twice")));
  });

  it("is nothing where there is nothing to go by", () => {
    expect(affinityKey(new Headers(), undefined, undefined)).toBe("");
  });
});
