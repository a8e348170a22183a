/** What the client has of the page that it runs in: its events, its memory, its Response. In real time. */
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createResumingFetch } from "../../../src/client/index.ts";
import { FakeGateway, type Fault } from "./fake-gateway.ts";

const RESUMES = 1_000;

/** A page's window and document, which count their listeners. */
class FakePage extends EventTarget {
  listeners = 0;
  visibilityState = "visible";

  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners += 1;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }
}

/** Counts the listeners of an app's signal. */
class CountedSignal extends FakePage {
  readonly aborted = false;
  readonly reason = undefined;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

function stubPage(): FakePage {
  const page = new FakePage();
  vi.stubGlobal("document", page);
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  return page;
}

describe(`an answer of ${RESUMES} resumes`, () => {
  it("leaves no listener, no timer and no connection", async () => {
    const page = stubPage();
    const gateway = new FakeGateway();
    gateway.says = { text: `${"data: 1\n\n".repeat(RESUMES)}data: [DONE]\n\n`, end: "done" };
    gateway.faults = Array.from({ length: RESUMES }, (): Fault => ({ kind: "dropped", after: 9 }));
    const signal = new CountedSignal();
    let resumes = 0;
    const fetch = createResumingFetch({
      url: gateway.url,
      conversationId: "c1",
      fetch: gateway.fetch,
      onState: (state) => {
        resumes = state.resumes;
      },
    });
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    const timersBefore = timers();
    const url = `${gateway.url}/v1/chat/completions`;
    const response = await fetch(url, { method: "POST", body: "{}", signal: signal as unknown as AbortSignal });
    expect(await response.text()).toBe(gateway.says.text);
    expect(resumes).toBe(RESUMES);
    expect(page.listeners).toBe(0);
    expect(signal.listeners).toBe(0);
    expect(timers()).toBe(timersBefore);
    expect(gateway.openBodies).toBe(0);
  });
});

describe("a consumer that stalls", () => {
  it("costs no more than a piece of the answer", async () => {
    const gateway = new FakeGateway();
    gateway.says = { text: "data: 1\n\n".repeat(100_000), end: null };
    const fetch = createResumingFetch({ url: gateway.url, conversationId: "c1", fetch: gateway.fetch });
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", body: "{}" });
    const reader = response.body?.getReader();
    await reader?.read();
    // Whatever reads ahead has had its turn.
    for (let turns = 0; turns < 100; turns++) await turn();
    expect(gateway.pieces).toBeLessThanOrEqual(2);
    await reader?.cancel();
  });
});

describe("a page", () => {
  it.each(["online", "pageshow", "visibilitychange"])("that gets %s has a new connection at once", async (name) => {
    const page = stubPage();
    const { gateway, reading } = await stalled();
    page.dispatchEvent(new Event(name));
    expect(await reading).toEqual({ done: false, value: new TextEncoder().encode("there") });
    expect(gateway.reads.length).toBe(1);
  });

  it("that is being hidden keeps what it has", async () => {
    const page = stubPage();
    const { gateway, reader } = await stalled();
    page.visibilityState = "hidden";
    page.dispatchEvent(new Event("visibilitychange"));
    await turn();
    expect(gateway.reads.length).toBe(0);
    await reader?.cancel();
  });
});

describe("a relative URL", () => {
  it("is one of the page's host, also for the function that names the conversation", async () => {
    const gateway = new FakeGateway();
    gateway.says = { text: "data: [DONE]\n\n", end: "done" };
    vi.stubGlobal("location", { href: `${gateway.url}/chat/` });
    const asked: string[] = [];
    const fetch = createResumingFetch({
      url: "/",
      conversationId: ({ href }) => {
        asked.push(href);
        return "c1";
      },
      fetch: (input, init) => gateway.fetch(new URL(String(input), gateway.url), init),
    });
    const response = await fetch("/v1/chat/completions?a=b", { method: "POST", body: "{}" });
    expect(await response.text()).toBe(gateway.says.text);
    expect(asked).toEqual([`${gateway.url}/v1/chat/completions?a=b`]);
  });
});

describe("React Native", () => {
  it("whose Response takes no stream gets one that has what SDKs use", async () => {
    const gateway = new FakeGateway();
    gateway.says = { text: "data: [DONE]\n\n", end: "done" };
    const RealResponse = Response;
    class TextResponse {}
    const fetch = createResumingFetch({
      url: gateway.url,
      conversationId: "c1",
      fetch: async (input, init) => {
        // The gateway's side is none of React Native's.
        vi.stubGlobal("Response", RealResponse);
        const answer = await gateway.fetch(input, init);
        vi.stubGlobal("Response", TextResponse);
        return answer;
      },
    });
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", body: "{}" });
    expect([response.ok, response.status, response.headers.get("Holdfast-Session")]).toEqual([true, 200, "session-1"]);
    expect(response.body).toBeInstanceOf(ReadableStream);
    expect(await response.text()).toBe(gateway.says.text);
  });
});

/** An answer whose connection has gone silent; the next one would say "there". */
async function stalled() {
  const gateway = new FakeGateway();
  gateway.says = { text: "data: 1", end: null };
  const fetch = createResumingFetch({ url: gateway.url, conversationId: "c1", fetch: gateway.fetch });
  const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", body: "{}" });
  const reader = response.body?.getReader();
  await reader?.read();
  const reading = reader?.read();
  await turn();
  const session = gateway.sessions.get("c1");
  if (session) session.bytes = new TextEncoder().encode("data: 1there");
  return { gateway, reader, reading };
}
