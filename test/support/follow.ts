/**
 * A client as an app should be: it posts, and when its connection breaks it goes on at the byte it has. Returns when an
 * answer has ended cleanly, whatever happened on the way.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Answer, type SendOptions, send } from "./http.ts";

export interface FollowOptions {
  /** Base URL; a function when it may change. */
  url: string;
  key: string;
  id: string;
  body: unknown;
  deadlineMs?: number;
  path?: string;
  /** Called with each new connection's answer: a chance to cut it. */
  onConnect?: (answer: Answer) => void;
  /** The user has stopped it: what it has is all that it wants. */
  isStopped?: () => boolean;
}

export interface Followed {
  bytes: Buffer;
  /** Connections it took. */
  connections: number;
}

/** Between two tries, milliseconds: somebody is being restarted. */
const RETRY_MS = 25;

export async function follow(options: FollowOptions): Promise<Followed> {
  const { url, key, id, body, deadlineMs = 60_000, path = "/v1/chat/completions", onConnect, isStopped } = options;
  const headers = { authorization: `Bearer ${key}` };
  const deadline = Date.now() + deadlineMs;
  const parts: Buffer[] = [];
  let received = 0;
  let connections = 0;
  let isPosted = false;
  while (Date.now() < deadline && !isStopped?.()) {
    const get = `${url}/v1/stream?conv_id=${encodeURIComponent(id)}&from=${received}`;
    const post: SendOptions = { headers: { ...headers, "x-conversation-id": id }, body };
    const exchange = isPosted ? send("GET", get, { headers }) : send("POST", url + path, post);
    isPosted = true;
    const answer = await exchange.answer.catch(() => undefined);
    if (!answer) {
      await pause(RETRY_MS);
      continue;
    }
    connections += 1;
    onConnect?.(answer);
    const ending = await answer.closed;
    if (isStopped?.()) break;
    if (answer.status === 404 && received === 0) {
      // The POST was lost on its way: nothing was started.
      isPosted = false;
      await pause(RETRY_MS);
      continue;
    }
    if (answer.status !== 200) throw new Error(`${id} at ${received}: ${answer.status} ${answer.text}`);
    parts.push(answer.bytes);
    received += answer.length;
    if (ending === "clean") return { bytes: Buffer.concat(parts), connections };
  }
  if (isStopped?.()) return { bytes: Buffer.concat(parts), connections };
  throw new Error(`${id} was not complete after ${deadlineMs} ms: ${received} bytes on ${connections} connections`);
}
