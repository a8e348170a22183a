import { expect } from "vitest";

/** Bytes without a pattern that an error could hide in, the same in every run. */
const NOISE = noise(1_000_003);

function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = 0x9e3779b9;
  for (let at = 0; at < length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}

/** `length` bytes of the noise from `at` on. */
export function noiseBytes(length: number, at = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const from = (at + done) % NOISE.length;
    const part = NOISE.subarray(from, from + length - done);
    bytes.set(part, done);
    done += part.length;
  }
  return bytes;
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces));
}

/** For many bytes: `toEqual` compares them one by one, which takes seconds. */
export function expectBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  if (actual && Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual?.[i]);
  expect.fail(`${actual?.length} bytes in place of ${expected.length}; they differ from offset ${at} on`);
}
