import type { Client } from "./client.ts";
import type { Target } from "./target.ts";

/** What some rules need besides the server and a slot of it: where it is missing they are left out, and said to be. */
const NEEDS = {
  apiKey: "a server that wants a key: --key KEY",
  otherKey: "a second key: --other-key KEY",
  origin: "GET /slots of its llama-server, with two slots or more: --origin URL",
  suite: "servers made for it: small limits, a small context, a model that repeats itself (npm test)",
} as const satisfies Partial<Record<keyof Target, string>>;

export type Need = keyof typeof NEEDS;

/** One sentence about the protocol, and how to see whether a server keeps it: it throws where not. */
export interface Rule {
  name: string;
  needs?: readonly Need[];
  run(client: Client): Promise<void>;
}

/** What this target lacks of it, in a sentence each. */
export function lacking({ needs = [] }: Rule, target: Target): string[] {
  return needs.filter((need) => target[need] === undefined).map((need) => NEEDS[need]);
}
