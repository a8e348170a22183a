import { describe, expect, it } from "vitest";
import { RUNTIME_MESSAGE, unexpectedNoise } from "../support/runtime-noise.ts";

describe("noise of the runtime", () => {
  it.each([
    "uncaught exception; source = Uncaught (in promise); stack = Error: boom\n    at x",
    "exception = workerd/api/unsafe.c++:217: failed: jsg.Error: Application called abortAllDurableObjects().",
    "workerd/io/actor-sqlite.c++:1051: warning: NOSENTRY SQLite alarm handler canceled",
  ])("is told from what a test prints: %s", (message) => {
    expect(RUNTIME_MESSAGE.test(message)).toBe(true);
    expect(RUNTIME_MESSAGE.test(`seed 42\n${message}`)).toBe(false);
  });

  it("is a fault where an exception was left uncaught, but for those that a test causes", () => {
    const fault =
      "workerd/server/server.c++:1: error: Uncaught exception: kj/async.h:1: failed: jsg.Error: TypeError: boom";
    const readerCutOff =
      "uncaught exception; source = Uncaught (in promise); stack = OffsetLostError: Cannot replay from 0";
    const cutOffInUse =
      "workerd/server/server.c++:1: error: Uncaught exception: workerd/jsg/value.h:1511: failed: remote.jsg.Error: OffsetLostError";
    expect(unexpectedNoise(cutOffInUse)).toEqual([cutOffInUse]);
    expect(unexpectedNoise([readerCutOff, fault, "exception = disconnected"].join("\n"))).toEqual([fault]);
  });
});
