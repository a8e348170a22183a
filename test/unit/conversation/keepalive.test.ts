import { describe, expect, it } from "vitest";
import { Keepalive } from "../../../src/conversation/session/keepalive.ts";
import { SimulatedClock } from "../support/simulated-clock.ts";

/** `add`: whether a ping may stand where it is due. */
function newKeepalive(add: () => boolean = () => true) {
  const clock = new SimulatedClock();
  const start = clock.now();
  const pings: number[] = [];
  const keepalive = new Keepalive(clock, () => {
    if (!add()) return;
    pings.push(clock.now() - start);
    keepalive.grew(clock.now());
  });
  return { clock, keepalive, pings };
}

describe("pings", () => {
  it("come every 1.8 s of silence, while they are wanted", async () => {
    const { clock, keepalive, pings } = newKeepalive();
    await clock.advance(10_000);
    expect(pings).toEqual([]);
    keepalive.grew(clock.now());
    keepalive.start();
    await clock.advance(1_799);
    expect(pings).toEqual([]);
    await clock.advance(1_801);
    expect(pings).toEqual([11_800, 13_600]);
    keepalive.stop();
    await clock.advance(10_000);
    expect([pings.length, clock.timers]).toEqual([2, 0]);
  });

  it("wait for 1.8 s from the last byte, not from the last look", async () => {
    const { clock, keepalive, pings } = newKeepalive();
    keepalive.start();
    await clock.advance(1_000);
    keepalive.grew(clock.now());
    await clock.advance(1_799);
    expect(pings).toEqual([]);
    await clock.advance(1);
    expect(pings).toEqual([2_800]);
  });

  it("come a full turn after a reader that joins a long silence", async () => {
    const { clock, keepalive, pings } = newKeepalive();
    await clock.advance(60_000);
    keepalive.start();
    await clock.advance(1_799);
    expect(pings).toEqual([]);
    await clock.advance(1);
    expect(pings).toEqual([61_800]);
  });

  it("that may not stand where they are due are tried again 1.8 s later", async () => {
    let mayStand = false;
    const { clock, keepalive, pings } = newKeepalive(() => mayStand);
    keepalive.start();
    await clock.advance(2_000);
    mayStand = true;
    await clock.advance(1_600);
    expect(pings).toEqual([3_600]);
  });

  it("started twice come once", async () => {
    const { clock, keepalive, pings } = newKeepalive();
    keepalive.start();
    keepalive.start();
    await clock.advance(1_800);
    expect([pings, clock.timers]).toEqual([[1_800], 1]);
  });

  it("can be stopped by what a ping does", async () => {
    const clock = new SimulatedClock();
    const keepalive = new Keepalive(clock, () => keepalive.stop());
    keepalive.start();
    await clock.advance(10_000);
    expect(clock.timers).toBe(0);
  });
});
