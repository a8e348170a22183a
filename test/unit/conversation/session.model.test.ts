import fc from "fast-check";
import { afterEach, expect, it, vi } from "vitest";
import { ModelledSession, type Step } from "./modelled-session.ts";

const fraction = fc.integer({ min: 0, max: 105 }).map((n) => n / 100);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("append" as const), events: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 2, arbitrary: fc.constant({ do: "append part" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.constantFrom(1, 5, 250, 1_800, 2_000, 5_000) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("join" as const), at: fraction }) },
  { weight: 1, arbitrary: fc.constant({ do: "leave" as const }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("confirm" as const), syncs: fc.constantFrom(1, 2, Infinity) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom("commit" as const, "crash" as const, "crash" as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("fill the disk" as const, "free the disk" as const, "fail the syncs" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("finish" as const),
      as: fc.constantFrom("done" as const, "origin_lost" as const, "replaced" as const, "stopped" as const),
    }),
  },
);

afterEach(() => {
  vi.restoreAllMocks();
});

it("a session keeps its invariants in thousands of random steps", async () => {
  vi.spyOn(console, "error").mockReturnValue();
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      const session = new ModelledSession();
      for (const next of steps) await session.take(next);
      await session.checkEnd();
      taken += steps.length;
    }),
    { seed: 8, numRuns: 100 },
  );
  expect(taken).toBeGreaterThan(2_000);
});
