/**
 * The origin of an end-to-end test: the real llama-server where LLAMA_SERVER names one, else the demo origin.
 */
import { startDemoOrigin } from "../../demo/origin.ts";
import { startLlamaServer } from "../../tools/llama-server.ts";

export interface TestOrigin {
  url: string;
  isReal: boolean;
  /** Slots that generate now. */
  busySlots(): Promise<number>;
  /** Generations that ended so far, where each is of `tokens` tokens: a second one of the same prompt shows. */
  generations(tokens: number): Promise<number>;
  /** Connections are cut, sessions gone. */
  kill(): Promise<void>;
}

export interface TestOriginOptions {
  slots?: number;
  port?: number;
  /** Milliseconds between a generation's tokens; the real server gets a model of about that speed. */
  paceMs?: number;
  /** What it calls its model. */
  model?: string;
}

export async function startOrigin(options: TestOriginOptions = {}): Promise<TestOrigin> {
  const launcher = process.env.LLAMA_SERVER;
  return launcher ? startReal(launcher, options) : startDemo(options);
}

async function startReal(
  launcher: string,
  { slots = 4, port, paceMs = 0, model }: TestOriginOptions,
): Promise<TestOrigin> {
  const server = await startLlamaServer(launcher, {
    slots,
    ...(port !== undefined && { port }),
    ...(paceMs > 0 && { slow: 64 }),
    args: ["--metrics", ...(model === undefined ? [] : ["-a", model])],
  });
  return {
    url: server.url,
    isReal: true,
    async busySlots() {
      const slotList = (await (await fetch(`${server.url}/slots`)).json()) as { is_processing: boolean }[];
      return slotList.filter((slot) => slot.is_processing).length;
    },
    async generations(tokens) {
      const metrics = await (await fetch(`${server.url}/metrics`)).text();
      return Number(/^llamacpp:tokens_predicted_total (\d+)/m.exec(metrics)?.[1]) / tokens;
    },
    kill: () => server.kill(),
  };
}

async function startDemo({ slots = 4, port, paceMs = 0, model }: TestOriginOptions): Promise<TestOrigin> {
  const origin = await startDemoOrigin({ slots, paceMs, ...(port !== undefined && { port }), ...(model && { model }) });
  return {
    url: origin.url,
    isReal: false,
    busySlots: async () => origin.busySlots(),
    generations: async () => origin.generations,
    kill: () => origin.close(),
  };
}
