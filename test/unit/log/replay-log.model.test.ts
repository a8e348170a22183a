import fc from "fast-check";
import { expect, it } from "vitest";
import { ModelledLog, type Step } from "./modelled-log.ts";

const RUNS = 80;
const fraction = fc.integer({ min: 0, max: 999 }).map((n) => n / 1_000);

const append = fc.record({
  do: fc.constant("append" as const),
  length: fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: 1, max: 300 }) },
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 6_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 150_000 }) },
  ),
  eventAt: fc.option(fraction, { nil: undefined }),
  endsEvent: fc.boolean(),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: append },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("fill" as const),
      up: fc.constantFrom("a row" as const, "the kept bytes" as const),
      and: fc.constantFrom(-1 as const, 0 as const, 1 as const),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: "frame" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "barrier" as const }) },
  { weight: 2, arbitrary: fc.constant({ do: "flush" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "commit" as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("confirm" as const), syncs: fc.constantFrom(1, 2, Infinity) }) },
  { weight: 1, arbitrary: fc.constant({ do: "crash" as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("read" as const), at: fraction }) },
);

it("the log does in 10,000 random appends, frames, flushes and crashes what an array would", async () => {
  const taken: Record<Step["do"], number> = {
    append: 0,
    fill: 0,
    frame: 0,
    barrier: 0,
    flush: 0,
    commit: 0,
    confirm: 0,
    crash: 0,
    read: 0,
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(0 as const, 1 as const),
      fc.array(step, { maxLength: 400, size: "max" }),
      async (slot, steps) => {
        const log = new ModelledLog(slot);
        for (const next of steps) {
          await log.take(next);
          taken[next.do] += 1;
        }
        log.checkAll();
      },
    ),
    { seed: 8, numRuns: RUNS },
  );
  const { append, fill, frame, flush, crash } = taken;
  expect(append + fill + frame + flush + crash).toBeGreaterThan(10_000);
  // Each kind often enough to meet each other one.
  expect(Math.min(...Object.values(taken))).toBeGreaterThan(300);
});
