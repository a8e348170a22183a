import { describe, expect, it } from "vitest";
import { Audience } from "../../../src/conversation/session/audience.ts";
import { SimulatedClock } from "../support/simulated-clock.ts";

/** An audience, when its waiters were woken (ms since the start), and what its owner heard. */
function newAudience() {
  const clock = new SimulatedClock();
  const start = clock.now();
  const presence: boolean[] = [];
  const audience = new Audience(clock, (isPresent) => presence.push(isPresent));
  const wakes: number[] = [];
  const wait = (waiters = 1) => {
    for (let i = 0; i < waiters; i++) audience.onChange(() => wakes.push(clock.now() - start));
  };
  return { clock, audience, presence, wakes, wait, notify: () => audience.notify(clock.now()) };
}

describe("an audience", () => {
  it("tells its owner of the first reader that joins and the last one that leaves", () => {
    const { audience, presence } = newAudience();
    const leaveFirst = audience.join();
    const leaveSecond = audience.join();
    leaveFirst();
    leaveFirst();
    expect([audience.isPresent, presence]).toEqual([true, [true]]);
    leaveSecond();
    leaveSecond();
    expect([audience.isPresent, presence]).toEqual([false, [true, false]]);
    audience.join();
    expect(presence).toEqual([true, false, true]);
  });

  it("aborts its signal of arrival while a reader is present", () => {
    const { audience } = newAudience();
    const { arrival } = audience;
    expect(arrival.aborted).toBe(false);
    const leave = audience.join();
    expect([arrival.aborted, audience.arrival.aborted]).toEqual([true, true]);
    leave();
    expect(audience.arrival.aborted).toBe(false);
  });

  it("wakes a waiter once, at the next change", () => {
    const { wakes, wait, notify } = newAudience();
    wait();
    notify();
    notify();
    expect(wakes).toEqual([0]);
  });

  it("wakes at most every 5 ms, and forgets no change", async () => {
    const { clock, wakes, wait, notify } = newAudience();
    wait();
    notify();
    wait();
    await clock.advance(1);
    notify();
    notify();
    expect(clock.timers).toBe(1);
    await clock.advance(3);
    expect(wakes).toEqual([0]);
    await clock.advance(1);
    expect(wakes).toEqual([0, 5]);
    wait();
    await clock.advance(5);
    expect(wakes).toEqual([0, 5]);
    notify();
    expect([wakes, clock.timers]).toEqual([[0, 5, 10], 0]);
  });

  it.each([
    [2, 5],
    [100, 50],
    [5_000, 250],
  ])("wakes %d waiters after no more than %d ms", async (waiters, interval) => {
    const { clock, wakes, wait, notify } = newAudience();
    wait();
    notify();
    wait(waiters);
    notify();
    await clock.advance(interval - 1);
    expect(wakes).toHaveLength(1);
    await clock.advance(1);
    expect(wakes).toHaveLength(1 + waiters);
  });

  it("wakes at once for an ending, and leaves no timer behind", async () => {
    const { clock, audience, wakes, wait, notify } = newAudience();
    wait();
    notify();
    wait();
    notify();
    audience.notifyNow();
    expect([wakes, clock.timers]).toEqual([[0, 0], 0]);
    let hasChanged = false;
    void audience.changed().then(() => {
      hasChanged = true;
    });
    await clock.advance(10);
    expect(hasChanged).toBe(false);
    audience.notifyNow();
    await clock.advance(0);
    expect(hasChanged).toBe(true);
  });

  it("sets no timer when nobody waits", () => {
    const { clock, notify } = newAudience();
    notify();
    expect(clock.timers).toBe(0);
  });

  it("lets a waiter wait again from within its call", () => {
    const { audience } = newAudience();
    let calls = 0;
    const again = () => {
      calls += 1;
      audience.onChange(again);
    };
    audience.onChange(again);
    audience.notifyNow();
    expect(calls).toBe(1);
    audience.notifyNow();
    expect(calls).toBe(2);
  });
});
