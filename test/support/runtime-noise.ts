/**
 * What workerd prints beside the Worker's own lines: exceptions with C++ stacks, some of them of clients that leave, as
 * tests make them do.
 */

/** A message of the runtime, not of a test. */
export const RUNTIME_MESSAGE = /^(uncaught exception|exception = |stack: |\S+\.(c\+\+|h|rs):\d+: |workerd\/|kj\/)/i;

const UNCAUGHT = /uncaught exception/i;

/** The test's own doing; and what only the pool of the tests inside workerd prints of a reader that is cut off. */
const EXPECTED = [
  "stack = OffsetLostError",
  "disconnected: jsg.Error: OffsetLostError",
  // A test aborts all objects, or the client has left.
  "abortAllDurableObjects",
  "Network connection lost",
];

/** The first lines of exceptions that nothing should have left uncaught. */
export function unexpectedNoise(log: string): string[] {
  return log.split("\n").filter((line) => UNCAUGHT.test(line) && !EXPECTED.some((expected) => line.includes(expected)));
}
