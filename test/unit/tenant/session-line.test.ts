import { describe, expect, it, vi } from "vitest";
import { dataPoint, logLine, report } from "../../../src/tenant/session-line.ts";

const usage = { key: "phone", end: "done", at: 5, durationMs: 9, tokens: { input: 3, cached: 1, output: 2 } } as const;

describe("a session's line", () => {
  it("is one line of JSON, without what is not known", () => {
    const log = vi.spyOn(console, "log").mockReturnValue();
    const writeDataPoint = vi.fn();
    report({ tenant: "alice", session: "s", usage, bytes: 7 }, { writeDataPoint });
    expect(log.mock.calls).toEqual([
      [
        '{"event":"session_end","tenant":"alice","key":"phone","session":"s","end":"done","input_tokens":3,"cached_tokens":1,"output_tokens":2,"ms":9,"bytes":7}',
      ],
    ]);
    expect(writeDataPoint).toHaveBeenCalledWith({
      indexes: ["alice"],
      blobs: ["phone", "", "done"],
      doubles: [3, 1, 2, 9, -1, 7],
    });
  });

  it("says -1 in a data point for what is not known, which has no other word for it", () => {
    const { tokens: _, ...unknown } = usage;
    expect(dataPoint({ tenant: "alice", usage: unknown }).doubles).toEqual([-1, -1, -1, 9, -1, -1]);
    expect(JSON.stringify(logLine({ tenant: "alice", usage: unknown }))).not.toContain("tokens");
  });
});
