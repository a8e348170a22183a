/** What the rules run against: llama-server, the demo origin, Holdfast in front of either; with `holdfast conformance` any server. */
declare module "vitest" {
  interface ProvidedContext {
    targets: Target[];
  }
}

export interface Target {
  name: string;
  kind: "holdfast" | "llama-server" | "demo-origin";
  url: string;
  /** None: the server wants none. */
  apiKey?: string | undefined;
  /** Another valid key: on Holdfast one of another tenant. */
  otherKey?: string | undefined;
  /** The llama-server behind it, which may be it: two slots or more, and `GET /slots` shows them. */
  origin?: { url: string; apiKey?: string | undefined } | undefined;
  /** Asked for where the server has several. */
  model?: string | undefined;
  /** Tokens that take about a third of a second: at least sixty, to have a middle. */
  unhurriedTokens: number;
  /** What the suite knows of the servers that it starts. */
  suite?: SuiteLimits | undefined;
}

export interface SuiteLimits {
  /** How many bytes of a session can be replayed. */
  retainedBytes: number;
  /** Characters of a prompt that takes the origin some seconds to read. */
  slowPromptChars: number;
  /** So many requests with so many characters each are more than the origin's context holds. */
  contextFilling: { requests: number; chars: number };
}
