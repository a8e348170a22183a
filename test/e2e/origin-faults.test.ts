/**
 * What the origin, or the way to it, can do to a live session, one thing at a time. Most of these tests wait, each in front of
 * a site of its own: so they run at the same time.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect } from "vitest";
import { startDemoOrigin } from "../../demo/origin.ts";
import { until } from "../../tools/wait.ts";
import type { Faults } from "../support/fault-proxy.ts";
import { follow } from "../support/follow.ts";
import { it } from "../support/own-site.ts";
import { chatBody, KEY, type Site, withoutPings } from "../support/site.ts";

const DONE = "data: [DONE]\n\n";

/** A live session with some bytes in it, and the reader that posted it. */
async function live(site: Site, name: string, tokens = 400, more: Record<string, unknown> = {}) {
  const post = await site.chat(name, chatBody(name, tokens, more)).answer;
  await post.readUntil(2_000);
  return post;
}

describe.concurrent("the origin", () => {
  it("an origin that is killed: readers are told within the deadline, lookup says origin_lost, a new POST works", async ({
    start,
  }) => {
    const site = await start({ paceMs: 5, vars: { RECONNECT_SECONDS: "2" } });
    const post = await live(site, "killed", 4_000);
    const killed = Date.now();
    await site.origin.kill();
    const told = (await post.whole(15_000)).toString();
    const tookMs = Date.now() - killed;
    expect(told).toMatch(/data: {"error":{"code":502,.*"type":"origin_lost"}}\n\n$/);
    expect(await site.row("killed")).toMatchObject({ is_done: true, end: "origin_lost" });
    expect((await site.replay("killed")).toString()).toBe(told);
    expect(tookMs).toBeLessThan(4_000);
    await site.restartOrigin();
    const again = await site.chat("killed", chatBody("again", 20)).answer;
    expect((await again.whole()).toString().endsWith(DONE)).toBe(true);
  });

  it("an origin that was killed and started again has lost the answer, and that is said at once", async ({ start }) => {
    const site = await start({ paceMs: 5 });
    const post = await live(site, "reborn", 4_000);
    await site.origin.kill();
    await site.restartOrigin();
    expect((await post.whole(15_000)).toString()).toMatch(/"type":"origin_lost"}}\n\n$/);
  });

  it("an origin that freezes and thaws goes on", async ({ start }) => {
    const site = await start({ paceMs: 5, vars: { ORIGIN_IDLE_SECONDS: "20" } });
    const post = await live(site, "thaws", 300);
    site.back.faults = { isStalled: true };
    await post.readUntil(":\n\n");
    site.back.faults = {};
    const whole = await post.whole(60_000);
    expect(whole.toString().endsWith(DONE)).toBe(true);
    expect(withoutPings(whole)).toBe(withoutPings(await site.atOrigin("thaws")));
  });

  it("an origin that stays frozen is origin_timeout", async ({ start }) => {
    const site = await start({ paceMs: 5, vars: { ORIGIN_IDLE_SECONDS: "3", RECONNECT_SECONDS: "60" } });
    const post = await live(site, "frozen", 4_000);
    site.back.faults = { isStalled: true };
    expect((await post.whole(20_000)).toString()).toMatch(/"code":504,.*"type":"origin_timeout"}}\n\n$/);
    expect(await site.row("frozen")).toMatchObject({ end: "origin_timeout" });
    site.back.faults = {};
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free", 30_000);
  });

  it("a generation over its time is too_long", async ({ start }) => {
    const site = await start({ paceMs: 5, vars: { MAX_GENERATION_SECONDS: "2" } });
    const post = await live(site, "endless", 8_000);
    expect((await post.whole(20_000)).toString()).toMatch(/"type":"too_long"}}\n\n$/);
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free");
  });
});

describe.concurrent("the way to the origin", () => {
  it("a tunnel that is away for a while, then back: the answer is whole", async ({ start }) => {
    const site = await start({ paceMs: 5 });
    const post = await live(site, "tunnel", 300);
    site.back.faults = { isRefusing: true };
    site.back.cutAll();
    await post.readUntil(":\n\n");
    site.back.faults = {};
    const whole = await post.whole(60_000);
    expect(whole.toString().endsWith(DONE)).toBe(true);
    expect(withoutPings(whole)).toBe(withoutPings(await site.atOrigin("tunnel")));
    expect(await site.row("tunnel")).toMatchObject({ end: "done", reattached: 1 });
    expect(await site.origin.generations(300)).toBe(1);
  });

  it("a stream cut before its headers is attached to, not asked again", async ({ start }) => {
    const site = await start({ slots: 1, paceMs: 5 });
    const busy = await live(site, "busy", 300);
    const queued = site.chat("queued", chatBody("queued", 300));
    await until(async () => (await site.row("queued"))?.is_done === false, "the queued session is listed");
    await until(() => site.back.requests.some(({ body }) => body.includes('"queued"')), "the origin was asked");
    site.back.cutAll("fin");
    const whole = await (await queued.answer).whole(60_000);
    expect(whole.toString().endsWith(DONE)).toBe(true);
    expect((await busy.whole(60_000)).toString().endsWith(DONE)).toBe(true);
    expect(await site.origin.generations(300)).toBe(2);
  });

  it.for<[how: string, faults: Faults]>([
    ["bytes come one at a time", { bytesPerWrite: 1 }],
    ["bytes come late", { delayMs: 50 }],
    ["connections are half closed", { cutAfterBytes: [2_000, 4_000], how: "half" }],
    ["connections end like complete ones", { cutAfterBytes: [2_000, 4_000], how: "fin" }],
  ])("the answer is whole when %s", async ([how, faults], { start }) => {
    const site = await start({ paceMs: 5 });
    site.back.faults = faults;
    const { bytes } = await follow({ url: site.url, key: KEY, id: how, body: chatBody(how, 40) });
    site.back.faults = {};
    expect(bytes.toString().endsWith(DONE)).toBe(true);
    expect(withoutPings(bytes)).toBe(withoutPings(await site.atOrigin(how)));
  });

  it.for<[how: string, faults: Faults]>([
    ["bytes come one at a time", { bytesPerWrite: 1 }],
    ["bytes come late", { delayMs: 50 }],
    ["connections are half closed", { cutAfterBytes: [2_000, 4_000], how: "half" }],
    ["connections are reset", { cutAfterBytes: [2_000, 4_000], how: "rst" }],
  ])("the answer is whole when on the client's side %s", async ([how, faults], { start }) => {
    const site = await start({ paceMs: 5 });
    site.front.faults = faults;
    const { bytes } = await follow({ url: site.front.url, key: KEY, id: how, body: chatBody(how, 40) });
    expect(bytes.toString().endsWith(DONE)).toBe(true);
    expect(bytes.equals(await site.replay(how))).toBe(true);
  });
});

describe.concurrent("the gateway", () => {
  it("brings an answer to its end after a restart with no client there: the alarm wakes it", async ({ start }) => {
    const site = await start({ paceMs: 5, vars: {} });
    const post = await live(site, "alone", 300);
    post.destroy();
    await site.restartGateway();
    const before = site.back.requests.length;
    await until(() => site.back.requests.length > before, "the object has come back and asks the origin", 40_000);
    await until(async () => (await site.origin.busySlots()) === 0, "the origin is done");
    expect((await site.replay("alone")).toString().endsWith(DONE)).toBe(true);
    expect(await site.row("alone")).toMatchObject({ end: "done", reattached: 1 });
  });

  it("restarted while the tunnel is away adds nothing to what a client has seen and it had not stored", async ({
    start,
  }) => {
    const site = await start({ paceMs: 5 });
    const post = await live(site, "ahead", 900);
    await post.readUntil(40_000);
    site.back.faults = { isRefusing: true };
    await site.restartGateway();
    await post.closed;
    const { connections } = site.back;
    const rest = await site.get(`/v1/stream?conv_id=ahead&from=${post.length}`).answer;
    // Longer than a ping takes: the gateway backs off between its tries.
    await until(() => site.back.connections > connections + 6, "the gateway has tried for some seconds", 20_000);
    site.back.faults = {};
    const whole = Buffer.concat([post.bytes, await rest.whole(60_000)]);
    expect(whole.equals(await site.replay("ahead"))).toBe(true);
    expect(withoutPings(whole) === withoutPings(await site.atOrigin("ahead"))).toBe(true);
  });

  it("restarted, with the origin lost, never passes off as ended what a client has seen and it had not stored", async ({
    start,
  }) => {
    const site = await start({ paceMs: 5, vars: { RECONNECT_SECONDS: "3" } });
    const post = await live(site, "cut short", 4_000);
    await post.readUntil(40_000);
    await site.origin.kill();
    await site.restartGateway();
    await post.closed;
    const waiting = await site.get(`/v1/stream?conv_id=cut+short&from=${post.length}`).answer;
    expect(await waiting.closed).toBe("broken");
    expect(await site.row("cut short")).toMatchObject({ end: "origin_lost" });
    const later = await site.get(`/v1/stream?conv_id=cut+short&from=${post.length}`).answer;
    expect(later.status).toBe(400);
    expect((await site.replay("cut short")).toString()).toMatch(/"type":"origin_lost"}}\n\n$/);
  });

  it("stop is not forgotten while the origin is away, nor when the gateway restarts then", async ({ start }) => {
    const site = await start({ paceMs: 5 });
    await live(site, "owed", 20_000);
    site.back.faults = { isRefusing: true };
    site.back.cutAll();
    expect(await site.stop("owed")).toBe(204);
    expect(await site.lookup(["owed"])).toEqual([]);
    const { connections } = site.back;
    await until(() => site.back.connections > connections, "the gateway has tried again", 20_000);
    await site.restartGateway();
    site.back.faults = {};
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free", 40_000);
  });

  it("stop that was answered is kept by a gateway that is killed at once", async ({ start }) => {
    const site = await start({ paceMs: 5 });
    await live(site, "answered", 20_000);
    site.back.faults = { isStalled: true };
    expect(await site.stop("answered")).toBe(204);
    await site.restartGateway();
    site.back.faults = {};
    site.back.cutAll();
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free", 40_000);
    expect(await site.lookup(["answered"])).toEqual([]);
  });

  it.for<[state: string, enter: (site: Site) => unknown]>([
    [
      "while the tunnel is away",
      ({ back }) => {
        back.faults = { isRefusing: true };
        back.cutAll();
      },
    ],
    [
      "while the way is frozen",
      ({ back }) => {
        back.faults = { isStalled: true };
      },
    ],
    ["after a restart of the gateway", (site) => site.restartGateway()],
  ])("stop in each of these states frees the GPU and leaves nothing: %s", async ([state, enter], { start }) => {
    const site = await start({ paceMs: 5 });
    const post = await live(site, state, 20_000);
    await enter(site);
    const seen = site.back.connections;
    expect(await site.stop(state)).toBe(204);
    await post.closed;
    expect(await site.lookup([state])).toEqual([]);
    await until(() => site.back.connections > seen, "the gateway has tried to stop the origin");
    site.back.faults = {};
    await until(async () => (await site.origin.busySlots()) === 0, "the slot is free", 40_000);
  });
});

describe.concurrent("an origin that behaves badly", () => {
  it("stays silent after the final event: the answer is done all the same", async ({ start }) => {
    const origin = await startBadOrigin((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[]}\n\ndata: [DONE]\n\n');
    });
    const site = await start({ behind: origin });
    const whole = await (await site.chat("silent", chatBody("silent", 1)).answer).whole(30_000);
    expect(whole.toString().replaceAll(":\n\n", "")).toBe('data: {"choices":[]}\n\ndata: [DONE]\n\n');
    expect(await site.row("silent")).toMatchObject({ end: "done" });
  });

  it("refuses with a body that never ends: the client is told within the idle time", async ({ start }) => {
    const origin = await startBadOrigin((response) => response.writeHead(500).write("{"));
    const site = await start({ behind: origin, vars: { ORIGIN_IDLE_SECONDS: "2", RECONNECT_SECONDS: "1" } });
    const answer = await site.chat("endless", chatBody("endless", 1)).answer;
    expect((await answer.whole(20_000)).toString()).toContain('"type":"origin_timeout"');
  });

  it("takes each re-attachment and cuts it: the reconnect time holds", async ({ start }) => {
    const origin = await startBadOrigin((response, path) => {
      if (path.startsWith("/v1/streams/lookup")) {
        response.writeHead(200).end('[{"total_bytes":999}]');
      } else {
        response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
        response.socket?.end();
      }
    });
    const site = await start({ behind: origin, vars: { RECONNECT_SECONDS: "3" } });
    const answer = await site.chat("flapping", chatBody("flapping", 1)).answer;
    expect((await answer.whole(20_000)).toString()).toContain('"type":"origin_lost"');
  });
});

describe.concurrent("an older origin, which takes ids in the path only", () => {
  it("is re-attached to, after a cut and after a restart, and stopped", async ({ start }) => {
    const origin = await startDemoOrigin({ pathFormOnly: true, paceMs: 5 });
    const site = await start({ behind: origin });
    const post = await live(site, "older", 300);
    site.back.cutAll();
    await post.readUntil(8_000);
    await site.restartGateway();
    expect((await site.replay("older")).toString().endsWith(DONE)).toBe(true);
    expect(await site.row("older")).toMatchObject({ end: "done", reattached: 2 });
    expect(origin.generations).toBe(1);
    await live(site, "stopped", 8_000);
    expect(await site.stop("stopped")).toBe(204);
    await until(() => origin.busySlots() === 0, "the slot is free");
  });
});

describe.concurrent("an origin without replay", () => {
  it("an origin without replay: a lost connection is origin_lost, a gateway restart is interrupted, nothing is asked twice", async ({
    start,
  }) => {
    const origin = await startDemoOrigin({ replay: false, paceMs: 5 });
    const site = await start({ behind: origin });
    const post = await live(site, "lost", 400);
    site.back.cutAll();
    expect((await post.whole()).toString()).toMatch(/"type":"origin_lost"}}\n\n$/);
    await live(site, "interrupted", 400);
    await until(async () => ((await site.row("interrupted"))?.total_bytes ?? 0) > 3_000, "there are bytes");
    await site.restartGateway();
    expect((await site.replay("interrupted")).toString()).toMatch(/"type":"interrupted"}}\n\n$/);
    expect(origin.generations).toBe(2);
    expect(origin.busySlots()).toBe(0);
  });

  it("that holds a request and lists nothing while its model loads is asked once", async ({ start }) => {
    const origin = await startLoadingOrigin(2_000);
    const site = await start({ behind: origin });
    const post = site.chat("loading", chatBody("loading", 10));
    await until(() => origin.requests > 0, "the origin has the request");
    site.back.cutAll();
    await (await post.answer).readUntil("[DONE]", 20_000);
    expect(origin.requests).toBe(1);
    expect(await site.row("loading")).toMatchObject({ end: "done" });
  });

  it("a tunnel status instead of an answer: the client is told in llama-server's shape, and nothing is left", async ({
    start,
  }) => {
    const tunnel = createServer((_, response) => void response.writeHead(530).end("error code: 1033"));
    await new Promise<void>((done) => tunnel.listen(0, "127.0.0.1", done));
    const site = await start({ behind: { url: urlOf(tunnel), close: () => closed(tunnel) } });
    const answer = await site.chat("530", chatBody("530", 10)).answer;
    expect(answer.status).toBe(502);
    expect(await answer.closed).toBe("clean");
    expect(JSON.parse(answer.text).error).toMatchObject({
      type: "origin_unreachable",
      message: expect.stringContaining("530"),
    });
    expect(await site.row("530")).toBeUndefined();
  });
});

/** A router whose model takes so long to load: until then it lists no session, and says so where one is read. */
async function startLoadingOrigin(loadMs: number) {
  let requests = 0;
  let loadedAt = Number.POSITIVE_INFINITY;
  const server = createServer((request, response) => {
    const isLoading = Date.now() < loadedAt;
    const json = (status: number, body: unknown) =>
      void response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    const path = request.url ?? "";
    if (request.method === "POST" && path === "/v1/chat/completions") {
      requests += 1;
      loadedAt = Date.now() + loadMs;
    } else if (request.method === "POST") {
      json(200, isLoading ? [] : [{ conversation_id: "c", is_done: true, total_bytes: 14 }]);
    } else if (isLoading) {
      const message = "Stream owner model is loading, retry later";
      json(503, { error: { code: 503, message, type: "unavailable_error" } });
    } else {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).end("data: [DONE]\n\n");
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: urlOf(server),
    close: () => closed(server),
    get requests() {
      return requests;
    },
  };
}

/** An origin that answers every request, the DELETE of a stop apart, as `answer` says. */
async function startBadOrigin(answer: (response: ServerResponse, path: string) => void) {
  const server = createServer((request, response) => {
    if (request.method === "DELETE") response.writeHead(204).end();
    else answer(response, request.url ?? "");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: urlOf(server),
    close: () => {
      server.closeAllConnections();
      return closed(server);
    },
  };
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function closed(server: Server): Promise<void> {
  return new Promise((done) => server.close(() => done()));
}
