import type { TestProject } from "vitest/node";
import { startDemoOrigin } from "../../demo/origin.ts";
import { ROOT } from "../../tools/bundle.ts";
import { writePage } from "../../tools/page.ts";

/**
 * The tests inside workerd cannot listen: their origins run outside, and each request body says how it behaves. One for each
 * file, because the tests count what is asked of it.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await writePage(ROOT);
  const { testFiles } = await project.globTestFiles();
  const origins = await Promise.all(
    testFiles.map(() => startDemoOrigin({ paceMs: 5, slots: 64, pingIntervalMs: 60_000 })),
  );
  project.provide(
    "originUrls",
    origins.map(({ url }) => url),
  );
  return async () => void (await Promise.all(origins.map((origin) => origin.close())));
}
