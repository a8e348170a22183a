import { availableParallelism } from "node:os";
import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";
import { QuietReporter } from "./test/support/quiet-reporter.ts";

/** scripts/test.ts: where a report for machines goes. */
const json = process.env.HOLDFAST_TEST_JSON;

/** End-to-end tests that say the same whatever the origin. */
const OWN_ORIGIN = [
  "client-package",
  "docs",
  "fuzz",
  "hostile",
  "install",
  "old-storage",
  "package",
  "setup",
  "start",
  "web-ui",
];

let taken = 0;
/** Files of tests count what is asked of their origin: each takes its own. */
function nextOf(origins: readonly string[]): string {
  return origins[taken++ % origins.length] ?? "";
}

/** Five kinds of tests, by where they run; `npm test` and `npm run test:llama` name the ones they want. */
export default defineConfig({
  test: {
    reporters: json === undefined ? [new QuietReporter()] : [new QuietReporter(), ["json", { outputFile: json }]],
    silent: "passed-only",
    // Most tests wait more than they compute.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      // Plain code that leaves nothing behind: a module registry for each file would double the time.
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], isolate: false } },
      {
        plugins: [
          // The function is called for each file.
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                ORIGIN_URL: nextOf(inject("originUrls")),
                API_KEYS: "alice=key-of-alice-for-tests bob=key-of-bob-for-tests",
                RETAINED_BYTES: "262144",
                MAX_REQUEST_BYTES: "65536",
                EXTRA_ROUTES: "GET:/slots",
                ADMIN_KEY: "key-of-the-owner",
                KEY_SECRET: "a-secret-of-32-characters-or-more",
              },
              cf: false,
            },
          })),
        ],
        // As [alias] of wrangler.toml; the setup writes it.
        resolve: { alias: { "holdfast-page": join(import.meta.dirname, ".page/files.js") } },
        test: {
          name: "workers",
          include: ["test/workers/**/*.test.ts"],
          globalSetup: ["test/workers/origin.setup.ts"],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "conformance",
          include: ["test/conformance/**/*.test.ts"],
          globalSetup: ["test/conformance/targets.setup.ts"],
          testTimeout: 30_000,
          // The tests count the slots that are busy at the origin, which is one for all.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          // What has an origin of its own, or none, is the same in front of a real llama-server.
          exclude: process.env.LLAMA_SERVER ? OWN_ORIGIN.map((name) => `test/e2e/${name}.test.ts`) : [],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
