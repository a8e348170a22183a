/** Is the deployed gateway up, and does an answer stream through it? */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { SetupError } from "./surroundings.ts";

type Say = (line: string) => void;

/** A new name in workers.dev, or a new domain, takes up to a minute to be known everywhere. */
const HEALTHY_WITHIN_MS = 90_000;
/** llama-server may load a model first. */
const ANSWERED_WITHIN_MS = 120_000;
const POLL_MS = 1_000;
const REQUEST_MS = 5_000;
/** Silence longer than that looks like a hang. */
const SIGN_OF_LIFE_MS = 4_000;

export async function whenHealthy(url: string, say: Say, limitMs = HEALTHY_WITHIN_MS): Promise<void> {
  const begun = performance.now();
  const signs = signsOfLife(say, `waiting for ${url}/health`);
  try {
    for (;;) {
      const found = await health(url);
      if (found === "ok") return;
      if (performance.now() - begun > limitMs) {
        throw new SetupError(`${url}/health does not say ok after ${limitMs / 1000} s: ${found}`);
      }
      await pause(POLL_MS);
    }
  } finally {
    clearInterval(signs);
  }
}

async function health(url: string): Promise<string> {
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(REQUEST_MS) });
    const text = await answer.text();
    return answer.ok && /"status"\s*:\s*"ok"/.test(text) ? "ok" : `${answer.status} ${text.slice(0, 200)}`;
  } catch (error) {
    return causeOf(error);
  }
}

/** One answer, streamed and resumable; it is stopped when it has ended, so that nothing of it is kept. */
export async function checkAnswer(url: string, key: string, say: Say): Promise<{ firstMs: number; events: number }> {
  const conversation = `setup-${randomUUID()}`;
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const begun = performance.now();
  const signs = signsOfLife(say, "waiting for the model's first word");
  try {
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { ...headers, "X-Conversation-Id": conversation },
      body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], stream: true, max_tokens: 16 }),
      signal: AbortSignal.timeout(ANSWERED_WITHIN_MS),
    });
    if (!answer.ok || !answer.body) throw new SetupError(refusal(answer.status, await answer.text()));
    return await readEvents(answer.body, begun);
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`No answer came through ${url}: ${causeOf(error)}`, { cause: error });
  } finally {
    clearInterval(signs);
    const path = `/v1/stream?conv_id=${conversation}`;
    // The answer is over, or nobody waits for it: whether the stop arrives changes nothing.
    await fetch(url + path, { method: "DELETE", headers, signal: AbortSignal.timeout(REQUEST_MS) }).catch(() => {});
  }
}

async function readEvents(body: ReadableStream<Uint8Array>, begun: number) {
  let firstMs = 0;
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (firstMs === 0 && /^data: /m.test(text)) firstMs = performance.now() - begun;
  }
  if (text.includes("data: [DONE]")) return { firstMs, events: text.match(/^data: /gm)?.length ?? 0 };
  throw new SetupError(`The answer broke off. Its end: ${text.slice(-300).trim() || "nothing at all"}`);
}

function refusal(status: number, text: string): string {
  const said = `The gateway answered ${status}: ${text.slice(0, 300).trim()}`;
  if (status === 401)
    return `${said}\nThe key is none of the Worker's. Give one that is: HOLDFAST_KEY=KEY npm run setup`;
  if (status >= 502)
    return `${said}\nIs the tunnel running, and the llama-server behind it? npm run setup -- --tunnel shows how`;
  return said;
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}

function signsOfLife(say: Say, what: string): NodeJS.Timeout {
  const begun = performance.now();
  return setInterval(
    () => say(`${what}, ${Math.round((performance.now() - begun) / 1000)} s so far …`),
    SIGN_OF_LIFE_MS,
  );
}
