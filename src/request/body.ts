/**
 * Request bodies: each held once, never more than a request may send, never more at once than a tenant may, and never
 * waited for without end.
 *
 *   client ──bytes──▶ one buffer ──▶ scanned, hashed, sent on
 *                        │
 *              BodyBudget: what the tenant's unanswered requests hold
 */
import { ApiError, badRequest } from "../errors.ts";
import type { BodyShare } from "./body-budget.ts";

/** Without a byte for so long, a client is gone, whatever its connection says. */
const STALL_MS = 60_000;
/** Bytes per second that a body has to come with, the first STALL_MS aside: the slowest mobile network is faster. */
const LEAST_RATE = 4_096;
/** What is read at once of a body whose length is not known. */
const PIECE_BYTES = 65_536;

/** What a request costs the runtime however short its body is: it bounds how many a tenant may let drip at once. */
const LEAST_SHARE_BYTES = 16_384;

/** Of a body that is refused so much is read and thrown away: a client that is cut off while it sends sees no answer. */
const DRAINED_BYTES = 67_108_864;
const DRAIN_MS = 10_000;

type Reader = ReadableStreamBYOBReader;

/** The whole body. Throws 413 for more than `maxBytes`, 429 for more than the share allows, 408 or 400 for less than it said. */
export async function readBody(request: Request, maxBytes: number, share: BodyShare): Promise<Uint8Array> {
  if (!request.body) return new Uint8Array(0);
  const reader = request.body.getReader({ mode: "byob" });
  try {
    return await readWhole(reader, declaredLength(request.headers), maxBytes, share);
  } catch (error) {
    const mayBeHeard = error instanceof ApiError && error.status !== 408;
    if (mayBeHeard) await drain(reader);
    void reader.cancel(error).catch(() => {
      // It is broken already, and has been given up.
    });
    throw error;
  }
}

/** `undefined` when the body comes in chunks. HTTP itself holds a request to the length it declares. */
function declaredLength(headers: Headers): number | undefined {
  const declared = headers.get("Content-Length");
  return declared === null ? undefined : Number(declared);
}

async function readWhole(
  reader: Reader,
  declared: number | undefined,
  maxBytes: number,
  share: BodyShare,
): Promise<Uint8Array> {
  if (declared !== undefined && declared > maxBytes) throw tooLarge(`${declared} bytes`, maxBytes);
  // One byte more than is expected: the read that finds the end needs a place, too.
  let buffer = allocate(share, declared ?? PIECE_BYTES);
  const deadline = new BodyDeadline();
  try {
    for (let length = 0; ; ) {
      const { done, value } = await deadline.within(reader.read(new Uint8Array(buffer, length)), length);
      buffer = value?.buffer ?? buffer;
      length += value?.byteLength ?? 0;
      if (length > maxBytes) throw tooLarge(`more than ${maxBytes} bytes`, maxBytes);
      if (done || length === declared) return new Uint8Array(buffer, 0, length);
      if (length === buffer.byteLength) buffer = grow(share, buffer, Math.min(2 * length, maxBytes + 1));
    }
  } finally {
    deadline.end();
  }
}

function allocate(share: BodyShare, bytes: number): ArrayBuffer {
  share.take(Math.max(bytes, LEAST_SHARE_BYTES));
  return new ArrayBuffer(bytes + 1);
}

/** The same bytes with room behind them; the smaller buffer is gone. */
function grow(share: BodyShare, buffer: ArrayBuffer, bytes: number): ArrayBuffer {
  share.take(bytes - buffer.byteLength);
  return buffer.transfer(bytes);
}

/**
 * How long a body may take: STALL_MS without a byte, and STALL_MS plus its size at the least rate in all. One timer for
 * all its reads.
 */
class BodyDeadline {
  readonly #startedAt = Date.now();
  #at = this.#startedAt + STALL_MS;
  #timer = setTimeout(() => this.#check(), STALL_MS);
  /** Fails the read that is waited for. */
  #giveUp: () => void = () => {};

  /** What `read` gives. Throws 408 when that takes too long, and 400 when the connection breaks. */
  within<Value>(read: Promise<Value>, length: number): Promise<Value> {
    this.#at = Math.min(Date.now(), this.#startedAt + (1_000 * length) / LEAST_RATE) + STALL_MS;
    return new Promise((resolve, reject) => {
      this.#giveUp = () => reject(this.#tooSlow(length));
      // An ApiError with the numbers instead of the runtime's "Network connection lost."
      read.then(resolve, () => reject(badRequest(`The request body broke off after ${length} bytes`)));
    });
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #check(): void {
    const rest = this.#at - Date.now();
    if (rest > 0) this.#timer = setTimeout(() => this.#check(), rest);
    else this.#giveUp();
  }

  #tooSlow(length: number): ApiError {
    const seconds = Math.round((Date.now() - this.#startedAt) / 1_000);
    const message =
      `${length} bytes of the request body came in ${seconds} s; ` +
      `the limits are ${STALL_MS / 1_000} s without a byte, and ${LEAST_RATE} bytes per second after that time`;
    return new ApiError(408, "invalid_request_error", message);
  }
}

async function drain(reader: Reader): Promise<void> {
  const deadline = Date.now() + DRAIN_MS;
  let buffer = new ArrayBuffer(PIECE_BYTES);
  try {
    for (let drained = 0; drained < DRAINED_BYTES && Date.now() < deadline; ) {
      const { done, value } = await inTime(reader.read(new Uint8Array(buffer)), deadline - Date.now());
      if (done) return;
      drained += value.byteLength;
      buffer = value.buffer;
    }
  } catch {
    // The client left or went quiet: the answer may still reach it.
  }
}

async function inTime<Value>(read: Promise<Value>, milliseconds: number): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Nothing came in ${milliseconds} ms`)), Math.max(0, milliseconds));
  });
  try {
    return await Promise.race([read, late]);
  } finally {
    clearTimeout(timer);
  }
}

function tooLarge(size: string, maxBytes: number): ApiError {
  return new ApiError(413, "payload_too_large", `The request body is ${size}; the limit is ${maxBytes} bytes`);
}
