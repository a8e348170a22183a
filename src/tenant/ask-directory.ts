/** Questions to the one object that lists the tenants; they end in time. */
import { ApiError } from "../errors.ts";
import { askInTime, SILENCE_MS } from "./ask-in-time.ts";
import { DIRECTORY_NAME, type Directory } from "./directory.ts";

/** The list of tenants did not answer. */
export class DirectorySilent extends ApiError {
  constructor(cause?: unknown) {
    const message = `The gateway's list of tenants did not answer within ${SILENCE_MS / 1_000} s`;
    super(503, "unavailable_error", message, { cause, retryAfterSeconds: 1 });
  }
}

/** Asks what does no harm twice. Throws DirectorySilent. */
export async function askDirectory<T>(
  namespace: DurableObjectNamespace<Directory>,
  ask: (stub: DurableObjectStub<Directory>) => Promise<T>,
): Promise<T> {
  return await askInTime(
    () => ask(namespace.getByName(DIRECTORY_NAME)),
    (cause) => new DirectorySilent(cause),
  );
}
