/**
 * The measurements. Each takes one contestant through one load and records its figures; which contestants go through
 * which is main.ts's to say. CPU is that of the contestant's processes alone, over a window in which all streams run.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, median, quantile } from "./bench.ts";
import { AUTHORIZED, type Contestant, type Start } from "./contestants.ts";
import { answerBytes } from "./event.ts";
import { type Llama, startLlama } from "./llama-server.ts";
import type { Call } from "./load.ts";
import { cpuMs, memoryKb } from "./processes.ts";

/** After the last stream was opened: compiled code and full batches. */
export const SETTLE_MS = 1_000;
export const PATIENCE_MS = 60_000;

interface Window {
  events: number;
  cpuMs: number;
}

/** What is delivered from now on for so long, and what it costs. */
async function window(bench: Bench, contestant: Contestant, windowMs: number): Promise<Window> {
  const cpuBefore = cpuMs(contestant.pids);
  const before = await bench.load.mark();
  await sleep(windowMs);
  const after = await bench.load.unmark();
  return { events: after.events - before.events, cpuMs: cpuMs(contestant.pids) - cpuBefore };
}

/** Opens `streams` answers of `rate` events a second, measures in the middle of them, sees all to their end. */
export async function inTheMiddle(
  bench: Bench,
  contestant: Contestant,
  load: { streams: number; rate: number; rampMs: number; windowMs: number },
): Promise<Window & { latency: readonly number[]; errors: number }> {
  const { streams, rate, rampMs, windowMs } = load;
  const events = Math.ceil((rate * (rampMs + SETTLE_MS + windowMs + 500)) / 1000);
  const calls = bench.newIds(streams).map((id) => contestant.post(id, { events, rate }));
  await bench.load.open(calls, events, rampMs);
  await sleep(rampMs + SETTLE_MS);
  const found = await window(bench, contestant, windowMs);
  const { latency, errors } = await bench.finish(contestant, rampMs + PATIENCE_MS);
  return { ...found, latency, errors };
}

/** One request at a time: from the request to the first event. */
export async function firstEvent(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const rounds = bench.quick ? 30 : 100;
    const one = async (id: string) => {
      await bench.load.open([contestant.post(id, { events: 1 })], 1);
      const { firstEvent } = await bench.finish(contestant, PATIENCE_MS);
      return firstEvent[0] ?? Number.NaN;
    };
    for (const id of bench.newIds(10)) await one(id);
    const fresh: number[] = [];
    for (const id of bench.newIds(rounds)) fresh.push(await one(id));
    bench.record(contestant.name, "first.new", median(fresh));
    if (contestant.isOnce) return;
    const again: number[] = [];
    const id = bench.newId();
    for (let i = 0; i < rounds; i++) again.push(await one(id));
    bench.record(contestant.name, "first.next", median(again));
  });
}

/** 20,000 events as fast as they go, one conversation. */
export async function unpaced(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const run = async (events: number) => {
      const before = cpuMs(contestant.pids);
      await bench.load.open([contestant.post(bench.newId(), { events })], events);
      const { took } = await bench.finish(contestant, PATIENCE_MS);
      return { cpu: cpuMs(contestant.pids) - before, took };
    };
    await run(3_000);
    const events = 20_000;
    for (let round = 0; round < (bench.quick ? 1 : 5); round++) {
      const { cpu, took } = await run(events);
      if (contestant.pids.length > 0) bench.record(contestant.name, "unpaced.cpu", (1000 * cpu) / events);
      bench.record(contestant.name, "unpaced.rate", (1000 * events) / took);
    }
  });
}

/** 3.92 MB. */
const REPLAY_EVENTS = 16_000;
const REPLAY_BYTES = answerBytes(REPLAY_EVENTS);
const MANY_READERS = 50;
const ONE_READER_ROUNDS = 4;

/** Reading answers that are finished: just after their end, and (cold) when no object is in memory. */
export async function replay(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant, restart) => {
    const { name } = contestant;
    const [warmUp = "", ...ids] = bench.newIds(bench.quick ? 3 : 7);
    for (const id of [warmUp, ...ids]) {
      await bench.load.open([contestant.post(id, { events: REPLAY_EVENTS })], REPLAY_EVENTS);
      await bench.finish(contestant, PATIENCE_MS);
    }
    // Once event by event: all of it, and in order.
    await bench.load.open([replayOf(contestant, warmUp)], REPLAY_EVENTS);
    await bench.finish(contestant, PATIENCE_MS);
    await megabytesPerSecond(bench, contestant, warmUp, 5);

    const cpuBefore = cpuMs(contestant.pids);
    // One reader alone is over in milliseconds: many of them, or the noise of the machine is what is measured.
    const ones = Array.from({ length: ONE_READER_ROUNDS }, () => ids).flat();
    for (const id of ones) bench.record(name, "replay.one", await megabytesPerSecond(bench, contestant, id, 1));
    const many = ids.slice(0, 3);
    for (const id of many) {
      bench.record(name, "replay.many", await megabytesPerSecond(bench, contestant, id, MANY_READERS));
    }
    const readers = ones.length + many.length * MANY_READERS;
    bench.record(name, "replay.cpu", (cpuMs(contestant.pids) - cpuBefore) / ((readers * REPLAY_BYTES) / 1e6));
    if (!name.startsWith("holdfast")) return;

    const restarted = await restart();
    // The process is warm again, the answers to come are not.
    for (let i = 0; i < 5; i++) await megabytesPerSecond(bench, restarted, warmUp, 1);
    const [last = "", ...others] = ids;
    for (const id of others) bench.record(name, "replay.coldOne", await megabytesPerSecond(bench, restarted, id, 1));
    bench.record(name, "replay.coldMany", await megabytesPerSecond(bench, restarted, last, MANY_READERS));
  });
}

function replayOf(contestant: Contestant, id: string): Call {
  if (!contestant.replay) throw new Error(`${contestant.name} cannot replay`);
  return contestant.replay(id);
}

async function megabytesPerSecond(bench: Bench, contestant: Contestant, id: string, readers: number): Promise<number> {
  const { ms, rawBytes } = await bench.load.sweep(replayOf(contestant, id), readers);
  if (rawBytes < readers * REPLAY_BYTES) bench.complain(`${contestant.name}: a replay was ${rawBytes} bytes short`);
  return (readers * REPLAY_BYTES) / 1000 / ms;
}

/** The same of the real llama-server. */
export async function replayLlama(bench: Bench, launcher: string): Promise<void> {
  let llama: Llama | undefined;
  try {
    llama = await startLlama(launcher);
    const { replay, bytes, pid } = llama;
    const speed = async (readers: number) => (readers * bytes) / 1000 / (await bench.load.sweep(replay, readers)).ms;
    const [ones, manies] = [6 * ONE_READER_ROUNDS, 3];
    await speed(5);
    const cpuBefore = cpuMs([pid]);
    for (let i = 0; i < ones; i++) bench.record("llama-server", "replay.one", await speed(1));
    for (let i = 0; i < manies; i++) bench.record("llama-server", "replay.many", await speed(MANY_READERS));
    const megabytes = ((ones + manies * MANY_READERS) * bytes) / 1e6;
    bench.record("llama-server", "replay.cpu", (cpuMs([pid]) - cpuBefore) / megabytes);
  } catch (error) {
    bench.complain(`llama-server: ${error}`);
  } finally {
    await llama?.kill();
  }
}

/** One conversation, 100 live readers, its POST among them. */
export async function fanOut(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const { read, name } = contestant;
    if (!read) return;
    const rate = 50;
    const windowMs = bench.quick ? 3_000 : 10_000;
    const rampMs = 1_000;
    const events = (rate * (rampMs + SETTLE_MS + windowMs + 500)) / 1000;
    const id = bench.newId();
    await bench.load.open([contestant.post(id, { events, rate })], events);
    await bench.untilBegun(contestant);
    await bench.load.open(
      Array.from({ length: 99 }, () => read(id)),
      events,
      rampMs,
    );
    await sleep(rampMs + SETTLE_MS);
    const found = await window(bench, contestant, windowMs);
    const { latency } = await bench.finish(contestant, PATIENCE_MS);
    bench.record(name, "fanOut.cpu", (1000 * found.cpuMs) / found.events);
    bench.record(name, "fanOut.p50", quantile(latency, 0.5));
    bench.record(name, "fanOut.p99", quantile(latency, 0.99));
  });
}

/**
 * 100 conversations × 50 events/s whose clients have vanished: the answers go on. Nobody receives what could be counted, so
 * the window closes when the contestant has done all its work: one that falls behind the origin has more of it to do after
 * the last event was sent.
 */
export async function clientGone(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const { name, pids, replay } = contestant;
    const [streams, rate, rampMs] = [100, 50, 500];
    const windowMs = bench.quick ? 3_000 : 10_000;
    const events = Math.ceil((rate * (rampMs + 2 * SETTLE_MS + windowMs)) / 1000);
    const ids = bench.newIds(streams);
    const sentAtFirst = await bench.origin.sent();
    await bench.load.open(
      ids.map((id) => contestant.post(id, { events, rate })),
      events,
      rampMs,
    );
    await sleep(rampMs + SETTLE_MS);
    await bench.load.leave();
    await bench.load.finish(PATIENCE_MS);
    await sleep(SETTLE_MS);
    const [cpuBefore, before] = [cpuMs(pids), await bench.origin.sent()];
    await bench.untilSent(sentAtFirst + streams * events, windowMs + PATIENCE_MS);
    const cpuAfter = await whenIdle(pids);
    bench.record(name, "gone.cpu", (1000 * (cpuAfter - cpuBefore)) / ((await bench.origin.sent()) - before));
    if (!replay) return;
    // Nobody was there, and all of it is.
    await bench.load.open(ids.slice(0, 10).map(replay), events, 100);
    await bench.finish(contestant, PATIENCE_MS);
  });
}

const IDLE_LOOK_MS = 500;
/** Of those 500 ms: timers, the runtime's own housekeeping. */
const IDLE_CPU_MS = 25;

/** The CPU time of these processes when they have nothing more to do, milliseconds. */
async function whenIdle(pids: readonly number[]): Promise<number> {
  const deadline = Date.now() + PATIENCE_MS;
  for (let used = cpuMs(pids); ; ) {
    await sleep(IDLE_LOOK_MS);
    const now = cpuMs(pids);
    if (now - used < IDLE_CPU_MS || Date.now() > deadline) return now;
    used = now;
  }
}

/** Resident memory by conversation, live and some time after the end. */
export async function memory(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const { name, pids } = contestant;
    const streams = bench.quick ? 200 : 500;
    if (streams > (contestant.mostLive ?? streams)) return;
    const base = await warmedUp(bench, contestant);
    const live = await wave(bench, contestant, streams, bench.quick ? SHORT_HOLD_MS : 10_000);
    bench.record(name, "memory.live", (live - base) / streams);
    if (!name.startsWith("holdfast")) return;

    await sleep(bench.quick ? 12_000 : 60_000);
    bench.record(name, "memory.rest", (memoryKb(pids).now - base) / streams);
    bench.record(name, "memory.peak", memoryKb(pids).peak / 1000);
  });
}

const SHORT_HOLD_MS = 2_400;

const WAVES = 8;
const WAVE_STREAMS = 200;
/** An object without work leaves memory after 10 s. */
const EVICTION_MS = 12_000;

/**
 * Whether ended conversations add up: wave after wave of new ones, each seen out of memory. The rise over the second half
 * is what counts, because the garbage collector takes its time, and with it the first waves rise whatever is held.
 */
export async function ended(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const base = await warmedUp(bench, contestant);
    const live: number[] = [];
    for (let i = 0; i < WAVES; i++) {
      if (i > 0) await sleep(EVICTION_MS);
      live.push((await wave(bench, contestant, WAVE_STREAMS, SHORT_HOLD_MS)) - base);
    }
    const [middle = 0, last = 0] = [live[WAVES / 2 - 1], live.at(-1)];
    bench.record(contestant.name, "memory.held", (last - middle) / ((WAVES / 2) * WAVE_STREAMS));
    bench.record(contestant.name, "memory.steady", Math.max(...live) / WAVE_STREAMS);
  });
}

/** Resident memory of a process that has worked before, kB: else its code and first heap would count as conversations. */
async function warmedUp(bench: Bench, contestant: Contestant): Promise<number> {
  await inTheMiddle(bench, contestant, { streams: 20, rate: 50, rampMs: 200, windowMs: 500 });
  await sleep(1_000);
  return memoryKb(contestant.pids).now;
}

/** Resident memory while `streams` conversations are live, kB. */
async function wave(bench: Bench, contestant: Contestant, streams: number, holdMs: number): Promise<number> {
  const rate = 5;
  const rampMs = 8 * streams;
  const events = (rate * (rampMs + holdMs)) / 1000;
  const calls = bench.newIds(streams).map((id) => contestant.post(id, { events, rate }));
  await bench.load.open(calls, events, rampMs);
  // The first one ends when the ramp and the hold are over.
  await sleep(rampMs + holdMs - 500);
  const live = memoryKb(contestant.pids).now;
  await bench.finish(contestant, rampMs + PATIENCE_MS);
  return live;
}

/** Many conversations at once. */
export async function crowd(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const load = bench.quick
      ? { streams: 300, rate: 10, rampMs: 1_500, windowMs: 2_500 }
      : { streams: 1_000, rate: 10, rampMs: 8_000, windowMs: 15_000 };
    const found = await inTheMiddle(bench, contestant, load);
    const { name, pids } = contestant;
    if (pids.length > 0) bench.record(name, "crowd.cpu", (1000 * found.cpuMs) / found.events);
    bench.record(name, "crowd.p50", quantile(found.latency, 0.5));
    bench.record(name, "crowd.p99", quantile(found.latency, 0.99));
    bench.record(name, "crowd.rate", found.events / (load.windowMs / 1000));
    bench.record(name, "crowd.errors", found.errors);
  });
}

/** So many ids of a request have a session: a client that asks for more asks for all that it ever had. */
const KNOWN_IDS = 1_000;

/** Which of many conversations have a session, in one request: first with no object in memory, then again. */
export async function lookup(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant, restart) => {
    const sizes = bench.quick ? [1, 100] : [1, 100, 1_000, 5_000];
    const ids = bench.newIds(10 + sizes.reduce((sum, size) => sum + Math.min(size, KNOWN_IDS), 0));
    await bench.load.open(
      ids.map((id) => contestant.post(id, { events: 1 })),
      1,
      6 * ids.length,
    );
    await bench.finish(contestant, PATIENCE_MS);
    const { pids, read } = await restart();
    const base = new URL(read?.("").url ?? "").origin;
    const ask = async (asked: string[]) => {
      const headers = { ...AUTHORIZED, "Content-Type": "application/json" };
      const body = JSON.stringify({ conversation_ids: asked });
      const answer = await bench.load.ask({ method: "POST", url: `${base}/v1/streams/lookup`, headers, body });
      if (answer.status !== 200) bench.complain(`lookup of ${asked.length} ids: ${answer.status} ${answer.body}`);
      return answer.ms;
    };
    await ask(ids.splice(0, 10));
    bench.record(contestant.name, "lookup.none", await ask(bench.newIds(5_000)));
    for (const size of sizes) {
      const known = ids.splice(0, Math.min(size, KNOWN_IDS));
      const asked = [...known, ...bench.newIds(size - known.length)];
      bench.record(contestant.name, `lookup.cold${size}`, await ask(asked));
      const rounds = Math.max(3, Math.min(100, Math.ceil(1_000 / size)));
      const times: number[] = [];
      const before = cpuMs(pids);
      for (let i = 0; i < rounds; i++) times.push(await ask(asked));
      bench.record(contestant.name, `lookup.cpu${size}`, (cpuMs(pids) - before) / rounds);
      bench.record(contestant.name, `lookup.again${size}`, median(times));
    }
  });
}

/** For what is done after an answer's last byte. */
export const AFTERWARDS_MS = 300;

/** MAX_REQUEST_BYTES of wrangler.toml. */
const MAX_BODY_BYTES = 33_554_432;

/** Bodies as large as they may be, by what is hard about them. */
const LARGE_BODIES: Readonly<Record<string, (fill: number) => string>> = {
  text: (bytes) => `{"stream":true,"messages":[{"role":"user","content":"${"x".repeat(bytes)}"}]}`,
  nested: (bytes) => `{"stream":true,"messages":[${"[],".repeat(bytes / 3)}[]]}`,
  deep: (bytes) => `{"stream":true,"messages":${"[".repeat(bytes)}`,
};

/** How late the events of ten other conversations are at most, while somebody's largest allowed request comes in. */
export async function largeBody(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant) => {
    const [streams, rate] = [10, 50];
    const kinds = Object.entries(LARGE_BODIES).filter(([kind]) => !bench.quick || kind === "nested");
    for (const [kind, write] of kinds) {
      const body = write(MAX_BODY_BYTES - 100);
      for (let round = 0; round < (bench.quick ? 1 : 3); round++) {
        const events = rate * (bench.quick ? 5 : 10);
        const calls = bench.newIds(streams).map((id) => contestant.post(id, { events, rate }));
        await bench.load.open(calls, events, SETTLE_MS);
        await sleep(2 * SETTLE_MS);
        await bench.load.mark();
        const { url, method, headers } = contestant.post(bench.newId(), { events: 1 });
        // It may be refused before all of it was sent.
        await fetch(url, { method, headers, body }).then(
          (answer) => answer.arrayBuffer(),
          () => undefined,
        );
        await sleep(AFTERWARDS_MS);
        await bench.load.unmark();
        const { latency } = await bench.finish(contestant, PATIENCE_MS);
        bench.record(contestant.name, `body.${kind}`, quantile(latency, 1));
      }
    }
  });
}

/**
 * One answer of 1,000 tokens at 50 a second, a token an event: what it writes, and what then lies on disk. Not the first
 * answer of its tenant, whose tables are made once.
 */
export async function rows(bench: Bench, start: Start): Promise<void> {
  await bench.with(start, async (contestant, _restart, storage) => {
    const answer = async (events: number) => {
      // Not by the load generator, which is another measurement's meanwhile.
      const { url, method, headers, body = null } = contestant.post(bench.newId(), { events, rate: 50 });
      const text = await (await fetch(url, { method, headers, body })).text();
      if (!text.includes("[DONE]")) bench.complain(`rows: the answer is not complete: ${text.slice(-200)}`);
      // The last alarm is set when the answer is over.
      await sleep(500);
      const counts = `${new URL(contestant.read?.("").url ?? "").origin}/bench/rows`;
      return (await (await fetch(counts)).json()) as RowCounts;
    };
    const before = await answer(1);
    const after = await answer(1_000);
    await contestant.stop();
    const counted = (figure: keyof RowCounts) => after[figure] - before[figure];
    bench.record(contestant.name, "rows.answer", counted("rowsWritten") + counted("alarmsSet"));
    bench.record(contestant.name, "rows.requests", counted("objectRequests") + counted("alarmsRun"));
    bench.record(contestant.name, "rows.bytes", largestDatabase(join(storage, "state")) / 1000);
  });
}

/** As workers/rows.js counts. */
interface RowCounts {
  rowsWritten: number;
  alarmsSet: number;
  alarmsRun: number;
  objectRequests: number;
}

/** Bytes of the answer's database: the largest there is. */
function largestDatabase(state: string): number {
  const files = readdirSync(state, { recursive: true, encoding: "utf8" });
  return Math.max(...files.filter((file) => file.endsWith(".sqlite")).map((file) => databaseBytes(join(state, file))));
}

/** Opening it also takes in what was not yet in the file itself. */
function databaseBytes(file: string): number {
  const database = new DatabaseSync(file);
  const row = database.prepare("SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size").get();
  database.close();
  return Number(row?.bytes);
}
