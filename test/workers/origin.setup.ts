import type { TestProject } from "vitest/node";
import { startDemoOrigin } from "../../demo/origin.ts";
import { ROOT } from "../../tools/bundle.ts";
import { writePage } from "../../tools/page.ts";

/** The tests inside workerd cannot listen: their origin runs outside, and each request body says how it behaves. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await writePage(ROOT);
  const origin = await startDemoOrigin({ paceMs: 5, slots: 64, pingIntervalMs: 60_000 });
  project.provide("originUrl", origin.url);
  return () => origin.close();
}
