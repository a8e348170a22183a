/** Questions to the objects that keep the tenants' records: they end in time, whatever the object does. */
import { askAgainIfReplaced } from "../storage/object-replaced.ts";

/** An object that has not answered by then is not there: the client is not to wait for it. */
export const SILENCE_MS = 2_000;

/** Asks what does no harm twice. Throws what `silent` makes of no answer, or of an object that failed. */
export async function askInTime<T>(ask: () => Promise<T>, silent: (cause?: unknown) => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(silent()), SILENCE_MS);
  });
  const answer = askAgainIfReplaced(ask).catch((error: unknown) => {
    console.error(error);
    throw silent(error);
  });
  try {
    return await Promise.race([answer, silence]);
  } finally {
    clearTimeout(timer);
  }
}
