/** The real llama-server with an answer of about 3.9 MB in its buffer, which holds 4 MiB. */
import { type LlamaServer, startLlamaServer } from "../tools/llama-server.ts";
import type { Call } from "./load.ts";
import { pinGateway } from "./processes.ts";

/** About 2 kB each, with the alternatives that `logprobs` adds. */
const TOKENS = 1_900;
const ID = "bench-replay";

export interface Llama {
  readonly replay: Call;
  readonly bytes: number;
  readonly pid: number;
  kill(): Promise<void>;
}

export async function startLlama(launcher: string): Promise<Llama> {
  const server: LlamaServer = await startLlamaServer(launcher);
  pinGateway(server.pid);
  const answer = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Conversation-Id": ID },
    body: JSON.stringify({
      messages: [{ role: "user", content: "sea" }],
      stream: true,
      max_tokens: TOKENS,
      logprobs: true,
      top_logprobs: 20,
    }),
  });
  const bytes = (await answer.arrayBuffer()).byteLength;
  const replay: Call = { method: "GET", url: `${server.url}/v1/stream?conv_id=${ID}&from=0`, headers: {} };
  return { replay, bytes, pid: server.pid, kill: () => server.kill() };
}
