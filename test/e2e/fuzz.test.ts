/**
 * Random steps of two tenants on the same conversation ids, in front of an origin that is odd on purpose; each step is
 * compared with a small model of the protocol. A failing run prints its seed, and HOLDFAST_SEED repeats its choices.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { FuzzClient } from "../support/fuzz-client.ts";
import { OddOrigin } from "../support/fuzz-origin.ts";
import { Random } from "../support/random.ts";
import { KEY, OTHER_KEY, Site } from "../support/site.ts";

const REQUESTS = Number(process.env.HOLDFAST_FUZZ ?? 150);
const CHAINS = 24;
const TENANTS = new Map([
  ["alice", KEY],
  ["bob", OTHER_KEY],
]);

/** What the gateway prints of its own accord: each session's end, and why an origin was not reached. */
const EXPECTED_LINE =
  /^({"event":"(?:session_end|origin_away|origin_back)",.*}|origin unreachable: \w+ failed after \d+ ms: .*|)$/;

it(
  `${REQUESTS} random requests of two tenants get what the protocol says, and nothing of each other`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-fuzz-"));
    const log = join(folder, "log");
    const origin = await OddOrigin.start();
    const vars = { RECONNECT_SECONDS: "3", ORIGIN_IDLE_SECONDS: "5" };
    const site = await Site.start({ behind: { url: origin.url, close: () => origin.close() }, vars, log });
    const { seed } = new Random();
    try {
      const clients = Array.from(
        { length: CHAINS },
        (_, i) => new FuzzClient(site.url, origin, new Random(seed + i), `chat-${i}`, TENANTS),
      );
      const failures: string[] = [];
      const total = () => clients.reduce((sum, client) => sum + client.requests, 0);
      const run = async (client: FuzzClient) => {
        try {
          while (total() < REQUESTS && failures.length === 0) await client.step();
        } catch (error) {
          failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
        }
      };
      await Promise.all(clients.map(run));
      expect(failures, `seed ${seed}, ${total()} requests`).toEqual([]);
      expect(origin.violations, `seed ${seed}`).toEqual([]);
      const printed = (await readFile(log, "utf8")).split("\n");
      expect(
        printed.filter((line) => !EXPECTED_LINE.test(line)),
        `seed ${seed}`,
      ).toEqual([]);
      console.log(`seed ${seed}: ${total()} requests`);
    } finally {
      await site.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
  60_000 + REQUESTS * 100,
);
