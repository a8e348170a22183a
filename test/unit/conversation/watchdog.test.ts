import { describe, expect, it } from "vitest";
import { type Contact, watch, watchIntervalMs } from "../../../src/conversation/producer/watchdog.ts";

const LIMITS = { reconnectMs: 290_000, originIdleMs: 300_000, maxGenerationMs: 3_600_000, retainedBytes: 1_000_000 };
const NOW = 10_000_000;
const MINUTE = 60_000;

/** A connection of an answer of ten minutes, on which the origin has just said something. */
function contactOf(fields: Partial<Contact> = {}): Contact {
  return { startedAt: NOW - 10 * MINUTE, isConnected: true, heardAt: NOW, probedAt: 0, isComplete: false, ...fields };
}

const verdict = (fields: Partial<Contact>, limits = LIMITS) => watch(NOW, contactOf(fields), limits);

describe("the watchdog", () => {
  it("waits for an origin that speaks, complete or not", () => {
    expect(verdict({})).toBe("wait");
    expect(verdict({ isComplete: true })).toBe("wait");
  });

  it("closes 5 s after the final event, and not before the final event", () => {
    expect(verdict({ heardAt: NOW - 4_999, isComplete: true })).toBe("wait");
    expect(verdict({ heardAt: NOW - 5_000, isComplete: true })).toBe("close");
    expect(verdict({ heardAt: NOW - 5_000 })).toBe("wait");
  });

  it("probes after 75 s of silence, and again 75 s later", () => {
    expect(verdict({ heardAt: NOW - 75_000 })).toBe("wait");
    expect(verdict({ heardAt: NOW - 75_001 })).toBe("probe");
    expect(verdict({ heardAt: NOW - 150_000, probedAt: NOW - 75_000 })).toBe("wait");
    expect(verdict({ heardAt: NOW - 150_000, probedAt: NOW - 75_001 })).toBe("probe");
  });

  it("probes at half of a shorter idle limit, so that it has asked before it gives up", () => {
    const short = { ...LIMITS, originIdleMs: 20_000 };
    expect(verdict({ heardAt: NOW - 10_000 }, short)).toBe("wait");
    expect(verdict({ heardAt: NOW - 10_001 }, short)).toBe("probe");
    expect(verdict({ heardAt: NOW - 20_001, probedAt: NOW }, short)).toBe("origin_timeout");
  });

  it("gives up an origin that is silent for longer than the idle limit", () => {
    expect(verdict({ heardAt: NOW - 300_000, probedAt: NOW })).toBe("wait");
    expect(verdict({ heardAt: NOW - 300_001, probedAt: NOW })).toBe("origin_timeout");
  });

  it("gives up an answer that takes longer than it may, and not when it takes exactly that", () => {
    expect(verdict({ startedAt: NOW - 3_600_000 })).toBe("wait");
    expect(verdict({ startedAt: NOW - 3_600_001 })).toBe("too_long");
  });

  it("without a connection only looks at the time of the whole answer: the silence is the network's", () => {
    const silent = { isConnected: false, heardAt: NOW - 400_000 };
    expect(verdict(silent)).toBe("wait");
    expect(verdict({ ...silent, isComplete: true })).toBe("wait");
    expect(verdict({ ...silent, startedAt: NOW - 3_600_001 })).toBe("too_long");
  });

  it("lets the first of several count: too long, then complete, then idle, then the probe", () => {
    const all = { startedAt: NOW - 3_600_001, isComplete: true, heardAt: NOW - 300_001 };
    expect(verdict(all)).toBe("too_long");
    expect(verdict({ ...all, startedAt: NOW })).toBe("close");
    expect(verdict({ ...all, startedAt: NOW, isComplete: false })).toBe("origin_timeout");
    expect(verdict({ ...all, startedAt: NOW, isComplete: false, heardAt: NOW - 300_000 })).toBe("probe");
  });

  it("looks every 5 s, and four times within a shorter limit", () => {
    expect(watchIntervalMs(LIMITS)).toBe(5_000);
    expect(watchIntervalMs({ ...LIMITS, originIdleMs: 2_000 })).toBe(500);
    expect(watchIntervalMs({ ...LIMITS, maxGenerationMs: 1_000 })).toBe(250);
  });
});
