/** A connection whose bytes the test writes itself: what no HTTP client would send. */
import { connect } from "node:net";
import { within } from "../../tools/wait.ts";

/** Sends these bytes as they are, then FIN, and gives everything that comes back before the connection ends. */
export async function sendRaw(url: string, bytes: string, deadlineMs?: number): Promise<string> {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", allowHalfOpen: true });
  let answer = "";
  const closed = new Promise<void>((done) => {
    socket.setEncoding("latin1").on("data", (text: string) => {
      answer += text;
    });
    // "close" follows.
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    socket.on("close", () => done());
  });
  socket.end(bytes, "latin1");
  try {
    await within(closed, "the end of the connection", deadlineMs);
  } finally {
    socket.destroy();
  }
  return answer;
}

/** The statuses of the answers in it, in order. */
export function statusesIn(answer: string): number[] {
  return Array.from(answer.matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => Number(status));
}
