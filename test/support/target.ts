/**
 * What the conformance suite runs against: llama-server, the demo origin, and Holdfast in front of either.
 */
declare module "vitest" {
  interface ProvidedContext {
    targets: Target[];
  }
}

export interface Target {
  name: string;
  kind: "holdfast" | "llama-server" | "demo-origin";
  url: string;
  apiKey: string;
  /** Another valid key: on Holdfast one of another tenant. */
  otherKey: string;
  /** The origin behind it; equal to `url` for an origin. */
  originUrl: string;
  originKey: string;
  originKind: "llama-server" | "demo-origin";
  /** How many bytes of a session can be replayed. */
  retainedBytes: number;
}
