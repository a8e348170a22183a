/**
 * `npm run bench`: what holdfast costs beside the least that a Worker with a Durable Object can cost, on this machine,
 * in one run. Real processes: origin, load generator, gateway; docs/performance.md says what is measured and why.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { dirname, join, resolve } from "node:path";
import { buildBundle, DIST } from "../tools/bundle.ts";
import { exitCode, fail, misused, onEnd, readOptions } from "../tools/command-line.ts";
import { Bench } from "./bench.ts";
import {
  before,
  bundles,
  DEFAULT_STORAGE,
  direct,
  floor,
  holdfast,
  holdfastCountingRows,
  jsLane,
  nativeLane,
  type Start,
  tappedLane,
  worker,
} from "./contestants.ts";
import {
  clientGone,
  crowd,
  ended,
  fanOut,
  firstEvent,
  largeBody,
  lookup,
  memory,
  replay,
  replayLlama,
  rows,
  unpaced,
} from "./measurements.ts";
import { FORMULA, moneyOf } from "./money.ts";
import { type Peer, startablePeers } from "./peers.ts";
import { PINNING } from "./processes.ts";
import { atOnce, MANY_SIDE_BY_SIDE, PACED, paced, SIDE_BY_SIDE, sideBySide, single } from "./ratios.ts";
import { asMarkdown, asText, reportLines, tables } from "./report.ts";

const HELP = `npm run bench -- [options]

  --quick         shorter runs: under two minutes
  --only NAME     this measurement alone; again for more of them. NAME is one of
                  NAMES
  --peers         also measure other gateways and stream servers: needs npm's registry, and redis-server and nginx
                  where they are to take part (Debian: apt-get install redis-server nginx-light)
  --storage DIR   where the databases are (default: DEFAULT_STORAGE); on a disk every commit waits for it
  --bundle DIR    measure this bundle in place of building one
  --before DIR    measure this bundle of another version too, where contestants take turns: as "before"
  --json FILE     where the figures go (default: bench/results/latest.json)
  --markdown      print the table as markdown
  --help

Environment: LLAMA_SERVER=/path/to/llama-server adds the real llama-server's replay.
Only ratios of one run mean anything; let the machine do nothing else meanwhile.`;

const HINT = "npm run bench -- --help shows the options.";

interface Options {
  quick: boolean;
  only: ReadonlySet<string>;
  peers: boolean;
  storage: string;
  bundle: string | undefined;
  before: string | undefined;
  json: string;
  markdown: boolean;
}

type Measurement = (bench: Bench, peers: readonly Peer[], wanted: (name: string) => boolean) => Promise<void>;

/** In the order they run. The contestants of one measurement follow each other, so that they meet the same machine. */
const MEASUREMENTS: Readonly<Record<string, Measurement>> = {
  async paced(bench, peers) {
    const rounds = bench.quick ? 1 : 5;
    for (const streams of bench.quick ? QUICK_PACED : PACED) {
      await paced(bench, [floor, jsLane, ...gateways()], streams, rounds);
    }
    const others = bench.quick ? [] : [direct, worker, tappedLane, nativeLane];
    for (const start of [...others, ...peers.map((peer) => peer.start)]) {
      await paced(bench, [start], 100, 1);
    }
  },
  async "side-by-side"(bench) {
    for (const streams of bench.quick ? [20] : SIDE_BY_SIDE) {
      const others = streams < MANY_SIDE_BY_SIDE ? [floor, jsLane] : [jsLane];
      await sideBySide(bench, [...others, ...gateways()], streams);
    }
  },
  async single(bench) {
    await single(bench, [floor, jsLane, ...gateways()]);
  },
  async "at-once"(bench) {
    await atOnce(bench, [floor, jsLane, ...gateways()]);
  },
  async body(bench) {
    await largeBody(bench, holdfast);
  },
  async first(bench, peers) {
    for (const start of [direct, worker, floor, holdfast, ...peers.map((peer) => peer.start)]) {
      await firstEvent(bench, start);
    }
  },
  async unpaced(bench, peers) {
    for (const start of [direct, worker, floor, holdfast, ...peers.map((peer) => peer.start)]) {
      await unpaced(bench, start);
    }
  },
  async replay(bench, peers) {
    const replaying = peers.filter(({ canReplay }) => canReplay).map(({ start }) => start);
    for (const start of [holdfast, ...replaying]) await replay(bench, start);
    if (process.env.LLAMA_SERVER) await replayLlama(bench, process.env.LLAMA_SERVER);
    else bench.say("LLAMA_SERVER is not set: no replay of the real llama-server to compare with");
  },
  async "fan-out"(bench, peers) {
    for (const start of [holdfast, ...resumable(peers)]) await fanOut(bench, start);
  },
  async gone(bench, peers) {
    for (const start of [holdfast, ...resumable(peers)]) await clientGone(bench, start);
  },
  async memory(bench, peers, wanted) {
    // It takes 20 s and next to no CPU, and here nothing is timed.
    const counted = wanted("rows") ? countRows(bench) : undefined;
    for (const start of [floor, holdfast, ...peers.map((peer) => peer.start)]) await memory(bench, start);
    await counted;
  },
  async ended(bench) {
    for (const start of [floor, holdfast]) await ended(bench, start);
  },
  async crowd(bench) {
    for (const start of bench.quick ? [floor, holdfast] : [floor, holdfast, jsLane]) await crowd(bench, start);
  },
  async lookup(bench) {
    await lookup(bench, holdfast);
  },
  async rows(bench) {
    if (bench.figure("holdfast", "rows.answer") === undefined) await countRows(bench);
  },
};

const QUICK_PACED = [50];

/** Holdfast, and with --before another build of it at its side. */
function gateways(): Start[] {
  return bundles.before === "" ? [holdfast] : [before, holdfast];
}

/** Waits for what takes its time; with --quick only by name. */
const NOT_QUICK: ReadonlySet<string> = new Set(["ended", "crowd"]);

function resumable(peers: readonly Peer[]): Start[] {
  return peers.filter(({ canResume }) => canResume).map(({ start }) => start);
}

async function countRows(bench: Bench): Promise<void> {
  await rows(bench, holdfastCountingRows);
  const { perMillionTokens, oneUserMonth, tenThousandUsersMonth } = moneyOf({
    rows: bench.figure("holdfast", "rows.answer") ?? Number.NaN,
    objectRequests: bench.figure("holdfast", "rows.requests") ?? Number.NaN,
    storedBytes: 1000 * (bench.figure("holdfast", "rows.bytes") ?? Number.NaN),
  });
  bench.record("holdfast", "money.million", perMillionTokens);
  bench.record("holdfast", "money.oneUser", oneUserMonth);
  bench.record("holdfast", "money.tenThousand", tenThousandUsersMonth);
}

await main();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  onEnd((signal) => process.exit(exitCode(null, signal)));
  if (process.platform !== "linux") fail("the bench reads CPU time and memory from /proc: it needs Linux");

  const llama = process.env.LLAMA_SERVER;
  if (llama && !existsSync(llama)) misused(`LLAMA_SERVER: there is no ${llama}`);

  const bench = new Bench(options.quick, options.storage);
  const machine = describeMachine();
  bench.say(`${machine.cpu}, load average ${machine.loadAverage}; ${PINNING}`);
  const peers = options.peers ? await startablePeers(bench) : [];
  if (options.bundle === undefined) bench.say("building the Worker");
  bundles.holdfast = options.bundle ?? (await buildBundle(DIST));
  bundles.before = options.before ?? "";
  await bench.start();

  const wanted = (name: string) => {
    return options.only.size === 0 ? !(options.quick && NOT_QUICK.has(name)) : options.only.has(name);
  };
  for (const [name, measure] of Object.entries(MEASUREMENTS)) {
    if (!wanted(name)) continue;
    bench.say(name);
    await measure(bench, peers, wanted);
    if (!bench.isAlive) fail("the origin or the load generator has ended; without them nothing can be measured");
  }
  await bench.stop();

  const lines = reportLines(bench);
  for (const { title, cells } of tables(lines)) {
    console.log(`${title}\n\n${options.markdown ? asMarkdown(cells) : asText(cells)}\n`);
  }
  console.log(`${machine.cpu}, ${machine.cpus} CPUs; workerd ${machine.workerd}, Node ${machine.node}; ${PINNING}.`);
  if (wanted("rows")) console.log(FORMULA);
  for (const complaint of bench.complaints) console.log(`PROBLEM: ${complaint}`);

  mkdirSync(dirname(options.json), { recursive: true });
  const rounds = Object.fromEntries([...bench.figures].map(([name, figures]) => [name, Object.fromEntries(figures)]));
  const { complaints, quick } = bench;
  const result = { date: new Date().toISOString(), quick, machine, pinning: PINNING, lines, rounds, complaints };
  writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  bench.say(`figures written to ${options.json}`);
  process.exit(complaints.length === 0 ? 0 : 1);
}

function describeMachine() {
  const require = createRequire(import.meta.url);
  const { version: workerd } = require("workerd/package.json") as { version: string };
  const [first] = cpus();
  const loadAverage = loadavg().map((load) => load.toFixed(2));
  return {
    cpu: first?.model ?? "unknown CPU",
    cpus: cpus().length,
    loadAverage: loadAverage.join(" "),
    workerd,
    node: process.version,
  };
}

function parseOptions(args: string[]): Options {
  const names = Object.keys(MEASUREMENTS);
  const given = readArguments(args);
  if (given.help) {
    console.log(HELP.replace("NAMES", names.join(", ")).replace("DEFAULT_STORAGE", DEFAULT_STORAGE));
    process.exit(0);
  }
  for (const name of given.only)
    if (!names.includes(name)) misused(`no measurement "${name}"; there are ${names.join(", ")}\n${HINT}`);
  return {
    quick: given.quick,
    only: new Set(given.only),
    peers: given.peers,
    storage: resolve(given.storage),
    bundle: given.bundle && resolve(given.bundle),
    before: given.before && resolve(given.before),
    json: resolve(given.json ?? join(import.meta.dirname, "results/latest.json")),
    markdown: given.markdown,
  };
}

function readArguments(args: string[]) {
  return readOptions(
    {
      args,
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        peers: { type: "boolean", default: false },
        storage: { type: "string", default: DEFAULT_STORAGE },
        bundle: { type: "string" },
        before: { type: "string" },
        json: { type: "string" },
        markdown: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    },
    HINT,
  ).values;
}
