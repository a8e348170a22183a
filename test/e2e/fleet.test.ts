/** Several origins behind one gateway. With LLAMA_SERVER they are real llama-servers. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../tools/wait.ts";
import type { SeenRequest } from "../support/fault-proxy.ts";
import { Fleet, originOf } from "../support/fleet.ts";
import type { Answer } from "../support/http.ts";
import { chatBody } from "../support/site.ts";

let fleet: Fleet;

afterEach(async () => {
  await fleet.close();
});

/** Some work, on so many things at a time. */
async function eachOf<Item>(
  items: readonly Item[],
  atATime: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
}

const idsOf = (count: number, name: string) => Array.from({ length: count }, (_, i) => `${name}-${i}`);

/** The chat's history up to its turn. */
function turn(id: string, number: number, model: string, tokens = 3) {
  const messages = Array.from({ length: 2 * number - 1 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: `${id}, message ${i}`,
  }));
  return { model, messages, max_tokens: tokens, stream: true, seed: 1 };
}

/** Waits for the end of an answer; its text. */
async function finished(answer: Answer): Promise<string> {
  const text = (await answer.whole(60_000)).toString();
  if (answer.status !== 200) throw new Error(`${answer.status} ${text}`);
  return text;
}

describe("three origins, two with one model and one with another", () => {
  const ORIGINS = { attic: { model: "sea" }, cellar: { model: "sea" }, shed: { model: "sky" } };
  const modelOf = (id: string) => (Number(id.split("-").at(-1)) % 3 === 0 ? "sky" : "sea");

  beforeEach(async () => {
    fleet = await Fleet.start({ origins: ORIGINS, vars: { RECONNECT_SECONDS: "3" } });
  });

  it("keep turns 2 and 3 of 300 conversations at the origin of turn 1, and share them out", async () => {
    const homes = new Map<string, string>();
    await eachOf(idsOf(300, "chat"), 8, async (id) => {
      const origins: string[] = [];
      for (const number of [1, 2, 3]) {
        const answer = await fleet.post(id, turn(id, number, modelOf(id)));
        expect(await finished(answer)).toContain("[DONE]");
        origins.push(originOf(answer));
      }
      expect(new Set(origins), id).toHaveLength(1);
      homes.set(id, origins[0] ?? "");
    });
    const shares = Map.groupBy(homes, ([, origin]) => origin);
    expect(shares.get("shed")?.every(([id]) => modelOf(id) === "sky")).toBe(true);
    expect(shares.get("shed")).toHaveLength(100);
    const [attic, cellar] = [shares.get("attic")?.length ?? 0, shares.get("cellar")?.length ?? 0];
    expect(attic + cellar).toBe(200);
    expect(Math.min(attic, cellar)).toBeGreaterThan(70);
    expect((await fleet.row("chat-1"))?.origin).toBe(homes.get("chat-1"));
  });

  it("keep the turns of chats without an id together, by the beginning of the prompt or by a header", async () => {
    const homes: string[] = [];
    for (const id of idsOf(12, "plain")) {
      const body = (number: number) => turn(id, number, "sea");
      const answers = [await fleet.post(undefined, body(1)), await fleet.post(undefined, body(2))];
      for (const answer of answers) await finished(answer);
      expect(originOf(answers[0] as Answer)).toBe(originOf(answers[1] as Answer));
      homes.push(originOf(answers[0] as Answer));
    }
    expect(new Set(homes)).toEqual(new Set(["attic", "cellar"]));
    const threads = new Set<string>();
    for (const id of idsOf(6, "threaded")) {
      const answer = await fleet.post(undefined, turn(id, 1, "sea"), { "x-claude-code-session-id": "one" });
      await finished(answer);
      threads.add(originOf(answer));
    }
    expect(threads).toHaveLength(1);
  });

  it("list their models as one, each row saying whose it is", async () => {
    const list = (await (await fleet.get("/v1/models")).json()) as {
      data: { id: string; origin: string; origins: string[] }[];
    };
    const rows = list.data.map(({ id, origin, origins }) => ({ id, origin, origins }));
    expect(rows).toEqual([
      { id: "sea", origin: "attic", origins: ["attic", "cellar"] },
      { id: "sky", origin: "shed", origins: ["shed"] },
    ]);
  });

  it("lose, of one that is killed, only the answers that were streaming from it; new requests see no error", async () => {
    await fleet.close();
    const slow = Object.fromEntries(
      Object.entries(ORIGINS).map(([name, options]) => [name, { ...options, paceMs: 20 }]),
    );
    fleet = await Fleet.start({ origins: slow, vars: { RECONNECT_SECONDS: "3" } });
    const streaming = await startLong();
    const lost = streaming.filter(({ origin }) => origin === "attic");
    const others = streaming.filter(({ origin }) => origin !== "attic");
    expect(Math.min(lost.length, others.length)).toBeGreaterThan(0);
    await fleet.kill("attic");
    const after = new Map<string, string>();
    await eachOf(idsOf(60, "after"), 4, async (id) => {
      const answer = await fleet.post(id, turn(id, 1, "sea"));
      expect(await finished(answer)).toContain("[DONE]");
      after.set(id, originOf(answer));
    });
    await eachOf(idsOf(10, "strict"), 2, async (id) => {
      expect(await finished(await fleet.post(undefined, turn(id, 1, "sea")))).toContain("[DONE]");
    });
    expect(new Set(after.values())).toEqual(new Set(["cellar"]));
    for (const { id, answer } of lost) {
      const text = (await answer.whole(60_000)).toString();
      expect(text, id).toContain('"type":"origin_lost"');
    }
    for (const { id } of others) {
      expect((await fleet.row(id))?.end, id).toBeNull();
      await fleet.stop(id);
    }
    await fleet.revive("attic");
    await until(
      async () => {
        const id = `back-${Math.random()}`;
        const answer = await fleet.post(id, turn(id, 1, "sea"));
        await finished(answer);
        return originOf(answer) === "attic";
      },
      "the origin that came back gets new conversations",
      40_000,
    );
    // Those that moved stay where their prompt cache is now.
    for (const id of idsOf(60, "after").slice(0, 15)) {
      const answer = await fleet.post(id, turn(id, 2, "sea"));
      await finished(answer);
      expect(originOf(answer), id).toBe("cellar");
    }
  });

  /** Answers that go on until they are stopped, from both origins with the model. */
  async function startLong() {
    const streaming: { id: string; answer: Answer; origin: string }[] = [];
    for (const id of idsOf(4, "long")) {
      const answer = await fleet.post(id, turn(id, 1, "sea", 7_000));
      await answer.readUntil("data:");
      streaming.push({ id, answer, origin: originOf(answer) });
    }
    return streaming;
  }
});

/** Of real servers, four on one machine take seconds to say what they serve while hundreds of requests come. */
const BURST = process.env.LLAMA_SERVER ? 110 : 440;

describe("a burst at a gateway that has just started", () => {
  it("is shared out by weight, and what only one serves goes there", async () => {
    const models = { attic: "sea", cellar: "sea", loft: "sea", shed: "sky" };
    fleet = await Fleet.start({
      origins: Object.fromEntries(Object.entries(models).map(([name, model]) => [name, { model }])),
    });
    const modelOf = (i: number) => (i % 11 === 0 ? "sky" : "sea");
    const burst = idsOf(BURST, "burst").map(async (id, i) => {
      const answer = await fleet.post(id, turn(id, 1, modelOf(i)));
      expect(await finished(answer)).toContain("[DONE]");
      return { origin: originOf(answer), model: modelOf(i) };
    });
    const shares = Map.groupBy(await Promise.all(burst), ({ origin }) => origin);
    expect(shares.get("shed")?.map(({ model }) => model)).toEqual(Array.from({ length: BURST / 11 }, () => "sky"));
    const ofThree = (BURST * 10) / 11;
    for (const name of ["attic", "cellar", "loft"]) {
      const share = shares.get(name)?.length ?? 0;
      // Of so many throws at a third.
      const standardDeviation = Math.sqrt((ofThree * 2) / 9);
      expect(Math.abs(share - ofThree / 3), `${name}: ${share}`).toBeLessThan(3 * standardDeviation);
    }
  });
});

describe("the owner's status", () => {
  const ADMIN_KEY = "key-of-the-owner-for-tests";

  interface Share {
    requests: number;
    reattached: number;
    ends: Record<string, number>;
  }

  interface OriginRow {
    name: string;
    state: string;
    live: number;
    today: Share;
    last_7_days: Share;
  }

  /** By the origin's name. */
  async function status(): Promise<Map<string, OriginRow>> {
    const answer = await fleet.get("/v1/admin/status", ADMIN_KEY);
    const { origins } = (await answer.json()) as { origins: OriginRow[] };
    return new Map(origins.map((origin) => [origin.name, origin]));
  }

  it("says of each origin what is live there, how often it was connected to again, and how its sessions ended", async () => {
    fleet = await Fleet.start({
      origins: { attic: { model: "sea", paceMs: 20 }, shed: { model: "sky" } },
      secrets: { ADMIN_KEY },
    });
    for (const id of idsOf(3, "quick")) await finished(await fleet.post(id, turn(id, 1, "sky")));
    await finished(await fleet.post(undefined, turn("strict", 1, "sky")));
    const cut = await fleet.post("cut", turn("cut", 1, "sea", 100));
    const long = await fleet.post("long", turn("long", 1, "sea", 7_000));
    await Promise.all([cut.readUntil("data:"), long.readUntil("data:")]);
    expect((await status()).get("attic")?.live).toBe(2);
    fleet.proxy("attic").cutAll();
    expect(await finished(cut)).toContain("[DONE]");
    await until(async () => (await fleet.row("long"))?.reattached === 1, "the other goes on");
    await until(async () => (await status()).get("attic")?.live === 1, "one has ended");
    await fleet.stop("long");
    const after = await status();
    const attic = { requests: 2, reattached: 2, ends: { done: 1, stopped: 1 } };
    expect(after.get("attic")).toMatchObject({ state: "there", live: 0, today: attic, last_7_days: attic });
    const shed = { requests: 4, reattached: 0, ends: { done: 3, strict: 1 } };
    expect(after.get("shed")).toMatchObject({ state: "there", live: 0, today: shed, last_7_days: shed });

    await fleet.restartGateway(["shed"]);
    expect((await status()).get("attic")).toMatchObject({ state: "gone", live: 0, last_7_days: attic });
  });
});

describe("a session", () => {
  it("goes on at its origin when the gateway is killed, to the same bytes", async () => {
    fleet = await Fleet.start({ origins: { attic: { paceMs: 10 }, cellar: { paceMs: 10 } } });
    const answers = await Promise.all(
      idsOf(4, "kept").map(async (id) => {
        const answer = await fleet.post(id, chatBody(id, 150));
        await answer.readUntil("data:");
        return { id, origin: originOf(answer) };
      }),
    );
    expect(new Set(answers.map(({ origin }) => origin)).size).toBe(2);
    await fleet.restartGateway();
    for (const { id, origin } of answers) {
      expect(await fleet.replay(id)).toContain("[DONE]");
      expect(await fleet.row(id)).toMatchObject({ end: "done", origin });
    }
    // One POST each, whatever happened to the gateway.
    const requests = ["attic", "cellar"].flatMap((name) => fleet.proxy(name).requests);
    expect(requests.filter(isPost)).toHaveLength(4);
  });

  it("whose origin was taken out of ORIGINS ends, and says which it was", async () => {
    fleet = await Fleet.start({ origins: { attic: { paceMs: 20 }, cellar: { paceMs: 20 } } });
    const id = await conversationAt("attic");
    await fleet.restartGateway(["cellar"]);
    expect(await fleet.replay(id)).toContain("The origin of this answer, attic, is not in the gateway's configuration");
    expect((await fleet.row(id))?.end).toBe("origin_lost");
    await until(
      () => fleet.logs.includes('"event":"stop_dropped","origin":"attic"'),
      "the stop is dropped, and said so",
    );
    const next = await fleet.post(id, chatBody("next", 3));
    expect(await finished(next)).toContain("[DONE]");
    expect(originOf(next)).toBe("cellar");
  });

  it("is stopped at its origin, and nowhere else", async () => {
    fleet = await Fleet.start({ origins: { attic: { paceMs: 20 }, cellar: { paceMs: 20 } } });
    const id = await conversationAt("cellar");
    await fleet.stop(id);
    await until(async () => (await fleet.origin("cellar").busySlots()) === 0, "the GPU is free");
    const name = fleet.proxy("cellar").requests.findLast(isPost)?.headers.get("x-conversation-id") ?? "";
    const stops = (at: string) =>
      fleet.proxy(at).requests.filter(({ method, path }) => method === "DELETE" && path.includes(name));
    expect(stops("cellar").length).toBeGreaterThan(0);
    expect(stops("attic")).toEqual([]);
  });

  /** A live one at this origin. */
  async function conversationAt(name: string): Promise<string> {
    for (const id of idsOf(40, "wanted")) {
      const answer = await fleet.post(id, chatBody(id, 1_000));
      await answer.readUntil("data:");
      if (originOf(answer) === name) return id;
      await fleet.stop(id);
    }
    throw new Error(`No conversation of forty goes to ${name}`);
  }
});

function isPost({ method, path }: SeenRequest): boolean {
  return method === "POST" && path === "/v1/chat/completions";
}

describe("an origin behind a binding", () => {
  it("is asked through it, with its keys, which no other origin sees", async () => {
    fleet = await Fleet.start({
      origins: { attic: {}, cellar: {} },
      // Nobody listens there: only the binding leads to the origin.
      fields: {
        attic: {
          ...{ via: "ATTIC", url: "http://attic.invalid", apiKey: "ATTIC_KEY" },
          ...{ accessClientId: "ATTIC_ID", accessClientSecret: "ATTIC_SECRET" },
        },
      },
      bindings: { ATTIC: "attic" },
      secrets: { ATTIC_KEY: "sk-attic", ATTIC_ID: "id.access", ATTIC_SECRET: "hush" },
    });
    for (const id of idsOf(12, "via")) {
      expect(await finished(await fleet.post(id, chatBody(id, 3)))).toContain("[DONE]");
      expect(await finished(await fleet.post(undefined, chatBody(id, 3)))).toContain("[DONE]");
    }
    const [attic, cellar] = [fleet.proxy("attic").requests, fleet.proxy("cellar").requests];
    expect(Math.min(attic.length, cellar.length)).toBeGreaterThan(2);
    for (const { path, headers } of attic) {
      expect(headers.get("authorization"), path).toBe("Bearer sk-attic");
      expect(headers.get("cf-access-client-id"), path).toBe("id.access");
      expect(headers.get("cf-access-client-secret"), path).toBe("hush");
    }
    for (const { path, headers } of cellar) {
      expect(
        [...headers.keys()].filter((name) => /^(authorization|cf-)/.test(name)),
        path,
      ).toEqual([]);
    }
  });
});
