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
  "first-start",
  "fuzz",
  "hostile",
  "install",
  "mixed-load",
  "neighbours",
  "old-storage",
  "package",
  "setup",
  "start",
  "web-ui",
];

/** End-to-end tests that hold the machine's speed against a number: nothing else runs beside them. */
const ALONE = ["hostile", "neighbours", "silence"];

const LEFT_OUT = process.env.LLAMA_SERVER ? OWN_ORIGIN : [];

/** The quick ones come first. */
const BEHIND_UNIT = { groupOrder: 1 };

const e2e = (names: readonly string[]) => names.map((name) => `test/e2e/${name}.test.ts`);

let taken = 0;
/** Files of tests count what is asked of their origin: each takes its own. */
function nextOf(origins: readonly string[]): string {
  return origins[taken++ % origins.length] ?? "";
}

/** Kinds of tests, by where they run; `npm test` and `npm run test:llama` name the ones they want. */
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
          sequence: BEHIND_UNIT,
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
          sequence: BEHIND_UNIT,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          sequence: BEHIND_UNIT,
          exclude: e2e([...ALONE, ...LEFT_OUT]),
          testTimeout: 120_000,
          hookTimeout: 60_000,
          // Each test with a gateway and an origin of its own; a real llama-server computes.
          maxConcurrency: process.env.LLAMA_SERVER ? 1 : 6,
        },
      },
      {
        test: {
          name: "e2e-alone",
          include: e2e(ALONE),
          exclude: e2e(LEFT_OUT),
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
