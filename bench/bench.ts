/** One run of the benchmark: the processes that all measurements share, and the figures that they leave. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Contestant, makeStorage, removeStorage, type Start } from "./contestants.ts";
import type { Summary } from "./load.ts";
import { LoadProcess, OriginProcess } from "./processes.ts";

const BEGIN_DEADLINE_MS = 10_000;

/** What is measured, by its name in the report: see report.ts. */
export type Figures = Map<string, Map<string, number[]>>;

export class Bench {
  readonly quick: boolean;
  /** The folder that contestants' storage is made in. */
  readonly storage: string;
  readonly figures: Figures = new Map();
  /** What went wrong without ending the run. */
  readonly complaints: string[] = [];
  readonly load = new LoadProcess();
  readonly origin = new OriginProcess();
  #originUrl = "";
  #conversations = 0;

  constructor(quick: boolean, storage: string) {
    this.quick = quick;
    this.storage = storage;
  }

  async start(): Promise<void> {
    [this.#originUrl] = await Promise.all([this.origin.started(), this.load.started()]);
  }

  /** The processes of the benchmark itself are there. */
  get isAlive(): boolean {
    return this.load.isAlive && this.origin.isAlive;
  }

  async stop(): Promise<void> {
    await Promise.all([this.load.kill(), this.origin.kill()]);
  }

  say(text: string): void {
    console.error(`bench ${(performance.now() / 1000).toFixed(0).padStart(4)} s  ${text}`);
  }

  /** Never the same id twice: each is a new object. */
  newId(): string {
    return `bench-${++this.#conversations}`;
  }

  newIds(count: number): string[] {
    return Array.from({ length: count }, () => this.newId());
  }

  record(contestant: string, figure: string, value: number): void {
    // Of a contestant that failed; it has been complained about.
    if (!Number.isFinite(value)) return;
    const figures = this.figures.get(contestant) ?? new Map<string, number[]>();
    this.figures.set(contestant, figures);
    figures.set(figure, [...(figures.get(figure) ?? []), value]);
  }

  /** The middle one of all rounds. */
  figure(contestant: string, figure: string): number | undefined {
    const values = this.figures.get(contestant)?.get(figure);
    return values && median(values);
  }

  /** One contestant's figure to another's: the middle one of the rounds, each with itself; else of the middle ones. */
  ratio(contestant: string, other: string, figure: string): number | undefined {
    const [ours, theirs] = [contestant, other].map((name) => this.figures.get(name)?.get(figure));
    if (!ours || !theirs) return undefined;
    if (ours.length !== theirs.length) return median(ours) / median(theirs);
    return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
  }

  /**
   * Runs `work` with a contestant of its own, in an empty storage. What goes wrong is a complaint, and the next
   * contestant's turn comes.
   */
  async with(
    start: Start,
    work: (contestant: Contestant, restart: () => Promise<Contestant>, storage: string) => Promise<void>,
  ): Promise<void> {
    const storage = makeStorage(this.storage);
    let contestant: Contestant | undefined;
    const begin = async () => {
      await contestant?.stop();
      contestant = await start(this.#originUrl, storage);
      return contestant;
    };
    try {
      await work(await begin(), begin, storage);
    } catch (error) {
      await this.#failed(contestant?.name ?? "a contestant that did not start", error);
    } finally {
      await contestant?.stop();
      removeStorage(storage);
    }
  }

  /**
   * Runs `work` with all of these contestants up at once, each in a storage of its own, all on the same core: for ratios.
   */
  async together(starts: readonly Start[], work: (contestants: readonly Contestant[]) => Promise<void>): Promise<void> {
    const join = async (waiting: readonly Start[], there: readonly Contestant[]): Promise<void> => {
      const [start, ...rest] = waiting;
      if (!start) return work(there).catch((error) => this.#failed(there.map(({ name }) => name).join(" and "), error));
      await this.with(start, (contestant) => join(rest, [...there, contestant]));
    };
    await join(starts, []);
  }

  /** Waits for all open streams; every one that is not a whole answer is a complaint. */
  async finish(contestant: Contestant, limitMs: number): Promise<Summary> {
    const summary = await this.load.finish(limitMs);
    if (summary.errors > 0) {
      const { errors, streams, reasons } = summary;
      this.complain(`${contestant.name}: ${errors} of ${streams} answers not complete (${reasons.join("; ")})`);
    }
    return summary;
  }

  async #failed(who: string, error: unknown): Promise<void> {
    this.complain(`${who}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    if (this.load.isAlive) await this.load.reset();
  }

  complain(text: string): void {
    if (this.complaints.includes(text)) return;
    this.complaints.push(text);
    this.say(`PROBLEM ${text}`);
  }

  /** Waits for the first event of the first stream. */
  async untilBegun(contestant: Contestant): Promise<void> {
    const deadline = Date.now() + BEGIN_DEADLINE_MS;
    while ((await this.load.progress()).begun === 0) {
      if (Date.now() > deadline) throw new Error(`${contestant.name} sends no first event`);
      await sleep(5);
    }
  }

  async untilSent(count: number, limitMs: number): Promise<void> {
    const deadline = Date.now() + limitMs;
    while ((await this.origin.sent()) < count && Date.now() < deadline) await sleep(20);
  }
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/** Of values sorted upwards. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
