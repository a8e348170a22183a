import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, originUnreachable } from "../../../src/errors.ts";
import { inTurn } from "../../../src/origin/in-turn.ts";
import { OriginPool } from "../../../src/origin/pool.ts";
import { OriginServer } from "../support/origin-servers.ts";
import { SimulatedClock } from "../support/simulated-clock.ts";

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
});

/** `broken`: the connection, and not the server. `login`: something answers in its place. */
type Outcome = number | "unreachable" | "broken" | "login";

/** What comes of a request whose tries come to these outcomes, in the order of the tries. */
async function tryWith(outcomes: Outcome[], signal = new AbortController().signal) {
  const servers = new Map(outcomes.map((_, i) => [`origin-${i}`, new OriginServer()]));
  for (const server of servers.values()) server.serve({ qwen: undefined });
  const clock = new SimulatedClock();
  const pool = new OriginPool(
    Array.from(servers, ([name, server]) => server.config(name)),
    clock,
  );
  const tried: string[] = [];
  const answer = inTurn(pool, { model: "qwen", key: "k" }, signal, async ({ name }) => {
    const outcome = outcomes[tried.length];
    tried.push(name);
    if (outcome === "unreachable") servers.get(name)?.die();
    if (outcome === "login") throw new ApiError(502, "origin_unreachable", "answered 302");
    if (typeof outcome !== "number") throw originUnreachable(new Error("Network connection lost."));
    return new Response(null, { status: outcome });
  });
  const outcome = answer.then(
    (response) => ({ status: response.status, header: response.headers.get("Holdfast-Origin") }),
    (error: ApiError) => ({ status: error.type, header: null }),
  );
  await clock.advance(1_000);
  const { status, header } = await outcome;
  return { status, header, tried, pool };
}

describe("a request that is not kept", () => {
  it.each<[Outcome[], number | string, number]>([
    [[200, 200], 200, 1],
    [["unreachable", 200], 200, 2],
    [[502, 200], 200, 2],
    [[503, 200], 200, 2],
    [[530, 521, 200], 200, 3],
    [["login", 200], 200, 2],
    [[400, 200], 400, 1],
    [[404, 200], 404, 1],
    [[500, 200], 500, 1],
    // Whoever was silent for so long has the request, and the next one would take as long.
    [[504, 200], 504, 1],
    [[524, 200], 524, 1],
    [["unreachable", 503], 503, 2],
    // Of one that is there only the connection broke: it is asked again, once.
    [["broken", 200], 200, 2],
    [["broken", "broken", 200], "origin_unreachable", 2],
    [[503, "unreachable"], "origin_unreachable", 2],
  ])("whose tries come to %j is answered %s after %d tries", async (outcomes, status, tries) => {
    const result = await tryWith(outcomes);
    expect([result.status, result.tried.length]).toEqual([status, tries]);
    if (typeof status === "number") expect(result.header).toBe([...new Set(result.tried)].join(", "));
  });

  it("is tried nowhere else when its client has left", async () => {
    const { tried, pool } = await tryWith(["unreachable", 200], AbortSignal.abort());
    expect(tried).toHaveLength(1);
    expect(pool.get(tried[0] ?? "")?.isAvailable).toBe(true);
  });

  it("leaves an origin marked as away that was not reached, and not one that was busy", async () => {
    const away = await tryWith([530, 200]);
    expect(away.pool.get(away.tried[0] ?? "")?.isAvailable).toBe(false);
    const busy = await tryWith([503, 200]);
    expect(busy.pool.get(busy.tried[0] ?? "")?.isAvailable).toBe(true);
  });

  it("for a model that no origin may be asked for is refused", async () => {
    const server = new OriginServer();
    server.serve({});
    const pool = new OriginPool([server.config("attic", { models: ["qwen*"] })], new SimulatedClock());
    const answer = inTurn(pool, { model: "gemma", key: "k" }, new AbortController().signal, async () => new Response());
    await expect(answer).rejects.toThrow("model 'gemma' not found");
  });
});
