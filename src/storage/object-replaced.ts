/**
 * Asks a Durable Object, and once more when it was just replaced, by a deploy or a crash: the question that finds it so
 * fails, the next one finds its successor. Only for what does no harm twice; `ask` makes a stub of its own each time.
 */
export async function askAgainIfReplaced<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isReplaced(error)) throw error;
    return await ask();
  }
}

/** The runtime's marks on an error of a stub. */
function isReplaced(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  return (
    ("durableObjectReset" in error && error.durableObjectReset === true) ||
    ("retryable" in error && error.retryable === true)
  );
}
