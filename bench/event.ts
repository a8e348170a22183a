/**
 * The benchmark's answer: chat SSE of llama-server's shape, every event 245 bytes, then `data: [DONE]`. Inside each
 * event stands a stamp, so that whoever gets it can tell when it was sent and whether one is missing.
 *
 *   @<when, microseconds, 16 digits>#<number of the event, 8 digits>
 *
 * The clock is CLOCK_MONOTONIC, which is one for all processes of a machine and which nothing sets back.
 */

const EVENT_BYTES = 245;
export const DONE = "data: [DONE]\n\n";
export const STAMP_BYTES = 26;
/** Nowhere else in the answer. */
export const STAMP_START = 0x40;

const AFTER = `"}}],"created":1763819999,"id":"chatcmpl-0123456789abcdef","model":"bench","object":"chat.completion.chunk"}\n\n`;
const START = `data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" the sea `;
const PADDING = ".".repeat(EVENT_BYTES - START.length - STAMP_BYTES - AFTER.length);
const BEFORE = START + PADDING;

const TEMPLATE = Buffer.from(`${BEFORE}@${"0".repeat(16)}#${"0".repeat(8)}${AFTER}`);

export function answerBytes(events: number): number {
  return events * EVENT_BYTES + DONE.length;
}

/** Microseconds on the machine's monotonic clock. */
export function nowMicros(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1e6 + nanos / 1e3;
}

export function writeEvent(number: number): Buffer {
  const event = Buffer.from(TEMPLATE);
  writeDigits(event, BEFORE.length + 1, 16, Math.floor(nowMicros()));
  writeDigits(event, BEFORE.length + 18, 8, number);
  return event;
}

function writeDigits(into: Buffer, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const next = Math.floor(rest / 10);
    into[i] = 0x30 + (rest - next * 10);
    rest = next;
  }
}

/** The number of `digits` digits at `at`. */
export function readDigits(from: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let i = at; i < at + digits; i++) value = value * 10 + ((from[i] ?? 0) - 0x30);
  return value;
}
