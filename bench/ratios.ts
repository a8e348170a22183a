/**
 * The measurements that are read as ratios: all contestants are up at once, on the same core, and either take turns or
 * work at the same time. What else the machine does then meets all of them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, quantile } from "./bench.ts";
import type { Contestant, Start } from "./contestants.ts";
import { AFTERWARDS_MS, inTheMiddle, PATIENCE_MS, SETTLE_MS } from "./measurements.ts";
import { cpuMs } from "./processes.ts";

/** Conversations at once, × 50 events/s. */
export const PACED = [1, 10, 50, 100];

/** So many conversations × 50 events/s: each contestant in turn, then all again the other way round. */
export async function paced(bench: Bench, starts: readonly Start[], streams: number, rounds: number): Promise<void> {
  await bench.together(starts, async (contestants) => {
    await warmUp(bench, contestants);
    for (let round = 0; round < rounds; round++) {
      for (const contestant of inTurns(contestants, round)) {
        const windowMs = bench.quick ? 2_000 : 4_000;
        const { latency, ...found } = await pacedTurn(bench, contestant, streams, windowMs);
        const record = (figure: string, value: number) => {
          bench.record(contestant.name, `paced${streams}.${figure}`, value);
        };
        if (contestant.pids.length > 0) record("cpu", (1000 * found.cpuMs) / found.events);
        record("p50", quantile(latency, 0.5));
        record("p99", quantile(latency, 0.99));
        record("rate", found.events / (windowMs / 1000));
      }
    }
  });
}

/**
 * Some thousand events each, whatever the load that is measured: V8 compiles the hot path step by step, and in its first
 * seconds holdfast costs a third more than after them.
 */
async function warmUp(bench: Bench, contestants: readonly Contestant[]): Promise<void> {
  for (const contestant of contestants) await pacedTurn(bench, contestant, 100, 1_000);
}

function pacedTurn(bench: Bench, contestant: Contestant, streams: number, windowMs: number) {
  return inTheMiddle(bench, contestant, { streams, rate: 50, rampMs: 500, windowMs });
}

/** Whoever was last in a round is first in the next. */
function inTurns(contestants: readonly Contestant[], round: number): readonly Contestant[] {
  return round % 2 === 0 ? contestants : contestants.toReversed();
}

/** Conversations of each contestant, with all contestants at work at once: together they must not fill the core. */
export const SIDE_BY_SIDE = [10, 20, 50];
/** From here on without the floor: js-lane and holdfast alone have 100 × 50 events/s, what one core can do. */
export const MANY_SIDE_BY_SIDE = 50;

/**
 * CPU per event with all contestants under the same load at the same time, on the same core: what disturbs one disturbs
 * the others as much, so their ratio holds on a machine that has other work too. Latencies are not comparable here.
 */
export async function sideBySide(bench: Bench, starts: readonly Start[], streams: number): Promise<void> {
  const rate = 50;
  const rampMs = 1_000;
  const windowMs = bench.quick ? 2_000 : 4_000;
  const rounds = bench.quick ? 3 : 10;
  await bench.together(starts, async (contestants) => {
    await warmUp(bench, contestants);
    const events = Math.ceil((rate * (rampMs + SETTLE_MS + rounds * (windowMs + 100) + 1_000)) / 1000);
    const calls = bench.newIds(streams).flatMap((id) => contestants.map(({ post }) => post(id, { events, rate })));
    await bench.load.open(calls, events, rampMs);
    await sleep(rampMs + SETTLE_MS);
    for (let round = 0; round < rounds; round++) {
      const before = contestants.map(({ pids }) => cpuMs(pids));
      const begun = await bench.load.progress();
      await sleep(windowMs);
      // Each has the same number of them, give or take what is under way.
      const delivered = ((await bench.load.progress()).events - begun.events) / contestants.length;
      for (const [i, { name, pids }] of contestants.entries()) {
        bench.record(name, `side${streams}.cpu`, (1000 * (cpuMs(pids) - (before[i] ?? 0))) / delivered);
      }
    }
    const { errors, reasons } = await bench.load.finish(PATIENCE_MS);
    if (errors > 0) bench.complain(`side by side: ${errors} answers not complete (${reasons.join("; ")})`);
  });
}

/** Requests of one event, one after another, each in a conversation of its own: CPU per request, storing included. */
export async function single(bench: Bench, starts: readonly Start[]): Promise<void> {
  await bench.together(starts, async (contestants) => {
    const requests = bench.quick ? 50 : 100;
    const turn = async ({ pids, post, name }: Contestant, count: number) => {
      const before = cpuMs(pids);
      for (const id of bench.newIds(count)) {
        await bench.load.open([post(id, { events: 1 })], 1);
        const { errors, reasons } = await bench.load.finish(PATIENCE_MS);
        if (errors > 0) bench.complain(`${name}: an answer of one event is not complete (${reasons.join("; ")})`);
      }
      // What is done after the answer's last byte.
      await sleep(AFTERWARDS_MS);
      return (cpuMs(pids) - before) / count;
    };
    for (const contestant of contestants) await turn(contestant, requests);
    for (let round = 0; round < (bench.quick ? 2 : 7); round++) {
      for (const contestant of inTurns(contestants, round)) {
        bench.record(contestant.name, "single.cpu", await turn(contestant, requests));
      }
    }
  });
}

/** 100 conversations that start in the same moment: from the request to the first event. */
export async function atOnce(bench: Bench, starts: readonly Start[]): Promise<void> {
  await bench.together(starts, async (contestants) => {
    const turn = async (contestant: Contestant) => {
      const calls = bench.newIds(100).map((id) => contestant.post(id, { events: 1 }));
      await bench.load.open(calls, 1);
      const { firstEvent } = await bench.finish(contestant, PATIENCE_MS);
      await sleep(AFTERWARDS_MS);
      return firstEvent;
    };
    for (const contestant of contestants) await turn(contestant);
    for (let round = 0; round < (bench.quick ? 3 : 11); round++) {
      for (const contestant of inTurns(contestants, round)) {
        const firstEvent = await turn(contestant);
        bench.record(contestant.name, "atOnce.p50", quantile(firstEvent, 0.5));
        bench.record(contestant.name, "atOnce.last", quantile(firstEvent, 1));
      }
    }
  });
}
