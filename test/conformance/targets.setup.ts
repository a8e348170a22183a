/**
 * Starts what the conformance suite runs against, once for all its files:
 *
 *     npm test              demo origin                     Holdfast ─▶ demo origin
 *     npm run test:llama    llama-server (LLAMA_SERVER)     Holdfast ─▶ llama-server
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startDemoOrigin } from "../../demo/origin.ts";
import { RING_BYTES } from "../../demo/replay-ring.ts";
import { startGateway } from "../../tools/gateway.ts";
import { startLlamaServer } from "../../tools/llama-server.ts";
import { workerBundle } from "../support/bundle.ts";
import { unexpectedNoise } from "../support/runtime-noise.ts";
import type { Target } from "./target.ts";

const ORIGIN_KEY = "origin-key";
const OTHER_ORIGIN_KEY = "other-origin-key";
const ALICE_KEY = "key-of-alice-for-tests";
const BOB_KEY = "key-of-bob-for-tests";

/** Different from llama-server's 4 MiB, so that no test passes by accident; small, so that an overflow is quick. */
const RETAINED_BYTES = 6 * 1024 * 1024;

/** Far above what any test but one sends. */
const MAX_REQUEST_BYTES = 256 * 1024;

/** One token each: slow enough to act in the middle of an answer, quick enough to wait for its end. */
const DEMO_PACE_MS = 5;

const LIMITS = {
  // tools/make-tiny-gguf.mjs: reads 5,000 to 10,000 characters a second, pings within two intervals, holds 32,768 tokens.
  "llama-server": { unhurriedTokens: 1000, slowPromptChars: 24_000, contextFilling: { requests: 4, chars: 7_900 } },
  // Each request tells it how long to read, and when to fail.
  "demo-origin": { unhurriedTokens: 60, slowPromptChars: 10, contextFilling: { requests: 1, chars: 10 } },
};

export default async function startTargets(project: TestProject): Promise<() => Promise<void>> {
  const bundle = await workerBundle();
  const storage = await mkdtemp(join(tmpdir(), "holdfast-conformance-"));
  const origin = await startOrigin();
  const cleanUp = async () => {
    await origin.close();
    await rm(storage, { recursive: true, force: true });
  };
  try {
    const gateway = await startGateway({
      bundle,
      origin: origin.target.url,
      originKey: ORIGIN_KEY,
      apiKeys: `alice=${ALICE_KEY} bob=${BOB_KEY}`,
      storage,
      vars: { RETAINED_BYTES: String(RETAINED_BYTES), MAX_REQUEST_BYTES: String(MAX_REQUEST_BYTES) },
    });
    project.provide("targets", [origin.target, holdfastTarget(origin.target, gateway.url)]);
    return async () => {
      await gateway.kill();
      await cleanUp();
      const unexpected = unexpectedNoise(gateway.logs());
      if (unexpected.length > 0) throw new Error(`The gateway left exceptions uncaught: ${unexpected.join("\n")}`);
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

async function startOrigin(): Promise<{ target: Target; close(): Promise<void> }> {
  const launcher = process.env.LLAMA_SERVER;
  const apiKey = `${ORIGIN_KEY},${OTHER_ORIGIN_KEY}`;
  if (launcher) {
    const server = await startLlamaServer(launcher, { apiKey });
    return { target: originTarget("llama-server", server.url), close: () => server.kill() };
  }
  const demo = await startDemoOrigin({ paceMs: DEMO_PACE_MS, apiKey });
  return { target: originTarget("demo-origin", demo.url), close: () => demo.close() };
}

function originTarget(kind: "llama-server" | "demo-origin", url: string): Target {
  const { unhurriedTokens, ...limits } = LIMITS[kind];
  return {
    name: kind === "llama-server" ? "llama-server" : "the demo origin",
    kind,
    url,
    apiKey: ORIGIN_KEY,
    otherKey: OTHER_ORIGIN_KEY,
    origin: { url, apiKey: ORIGIN_KEY },
    unhurriedTokens,
    suite: { ...limits, retainedBytes: RING_BYTES },
  };
}

function holdfastTarget(origin: Target, url: string): Target {
  return {
    ...origin,
    name: `Holdfast in front of ${origin.name}`,
    kind: "holdfast",
    url,
    apiKey: ALICE_KEY,
    otherKey: BOB_KEY,
    suite: origin.suite && { ...origin.suite, retainedBytes: RETAINED_BYTES },
  };
}
