/**
 * vitest's reporter for all our runs: what failed, with what was printed meanwhile, and nothing of what did not.
 *
 *     every 10 s            how far it is, and what runs
 *     a test that fails     its name, what the tests and workerd printed while it ran; vitest's account of it at the end
 *     the end               uncaught exceptions of workerd, which fail the run; the slowest tests; the counts
 */
import {
  DefaultReporter,
  type SerializedError,
  type TestCase,
  type TestModule,
  type TestRunEndReason,
} from "vitest/node";
import { RUNTIME_MESSAGE, unexpectedNoise } from "./runtime-noise.ts";

const PROGRESS_MS = 10_000;
const SLOWEST = 10;
/** Of what workerd printed during one test. */
const MAX_NOISE_LINES = 60;

export class QuietReporter extends DefaultReporter {
  readonly #running = new Map<TestCase, string[]>();
  readonly #finished: TestCase[] = [];
  readonly #unexpected: string[] = [];
  #failed = 0;
  #startedAt = 0;
  #progress: NodeJS.Timeout | undefined;
  #restoreOutput = () => {};

  constructor() {
    super({ summary: false, silent: "passed-only" });
  }

  override onTestRunStart(...args: Parameters<DefaultReporter["onTestRunStart"]>): void {
    super.onTestRunStart(...args);
    this.#startedAt = performance.now();
    this.#captureRuntime();
    this.#progress = setInterval(() => this.#printProgress(), PROGRESS_MS).unref();
  }

  override onTestCaseReady(test: TestCase): void {
    super.onTestCaseReady(test);
    this.#running.set(test, []);
  }

  override onTestCaseResult(test: TestCase): void {
    super.onTestCaseResult(test);
    const noise = this.#running.get(test) ?? [];
    this.#running.delete(test);
    if (test.result().state === "skipped") return;
    this.#finished.push(test);
    if (test.result().state !== "failed") return;
    this.#failed += 1;
    this.log(` ✗ ${nameOf(test)}`);
    if (noise.length > 0) this.log(`workerd printed meanwhile:\n${noise.slice(-MAX_NOISE_LINES).join("\n")}\n`);
  }

  override onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    clearInterval(this.#progress);
    this.#restoreOutput();
    super.onTestRunEnd(modules, errors, reason);
    const slowest = this.#finished.toSorted((a, b) => durationOf(b) - durationOf(a)).slice(0, SLOWEST);
    if (slowest.length > 1) {
      this.log("Slowest:");
      for (const test of slowest) this.log(`${(durationOf(test) / 1000).toFixed(1).padStart(8)} s  ${nameOf(test)}`);
    }
    if (this.#unexpected.length === 0) return;
    this.error(`\nworkerd had exceptions that nothing caught:\n${this.#unexpected.join("\n")}`);
    process.exitCode = 1;
  }

  /** Only what failed is printed, by the end of the run. */
  protected override printTestModule(): void {}

  #printProgress(): void {
    const running = [...this.#running.keys()].map(nameOf);
    const seconds = Math.round((performance.now() - this.#startedAt) / 1000);
    const counts = `${this.#finished.length - this.#failed} passed, ${this.#failed} failed`;
    const [longest = "between two tests", ...others] = running;
    const more = others.length > 0 ? `, and ${others.length} more` : "";
    this.log(` ${String(seconds).padStart(4)} s  ${counts}; ${longest}${more}`);
  }

  /** The pool of the tests inside workerd writes the runtime's messages to our output, one per call. */
  #captureRuntime(): void {
    const restore = [process.stdout, process.stderr].map((stream) => {
      const write = stream.write;
      stream.write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
        return this.#isNoise(chunk) || Reflect.apply(write, stream, [chunk, ...rest]);
      };
      return () => {
        stream.write = write;
      };
    });
    this.#restoreOutput = () => {
      for (const give of restore) give();
    };
  }

  /** Keeps what the runtime says for the tests that run. */
  #isNoise(chunk: string | Uint8Array): boolean {
    if (typeof chunk !== "string" || !RUNTIME_MESSAGE.test(chunk)) return false;
    for (const noise of this.#running.values()) noise.push(chunk.trimEnd());
    const during = [...this.#running.keys()].map(nameOf).join(", ");
    this.#unexpected.push(...unexpectedNoise(chunk).map((line) => `${line}\n  during ${during || "no test"}`));
    return true;
  }
}

function durationOf(test: TestCase): number {
  return test.diagnostic()?.duration ?? 0;
}

function nameOf(test: TestCase): string {
  return `${test.module.relativeModuleId} > ${test.fullName}`;
}
