/** From a tenant's name to its object, and questions to it that end in time. */
import { ApiError } from "../errors.ts";
import { askAgainIfReplaced } from "../storage/object-replaced.ts";
import type { Tenant } from "./tenant.ts";

/** An object that has not answered by then is not there: the client is not to wait for it. */
const SILENCE_MS = 2_000;

/** The tenant's object did not answer. */
export class TenantSilent extends ApiError {
  constructor(cause?: unknown) {
    const message = `The gateway's record of this tenant did not answer within ${SILENCE_MS / 1_000} s`;
    super(503, "unavailable_error", message, { cause, retryAfterSeconds: 1 });
  }
}

/** Asks what does no harm twice. Throws TenantSilent. */
export async function askTenant<T>(
  namespace: DurableObjectNamespace<Tenant>,
  tenant: string,
  ask: (stub: DurableObjectStub<Tenant>) => Promise<T>,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TenantSilent()), SILENCE_MS);
  });
  const answer = askAgainIfReplaced(() => ask(namespace.getByName(tenant)));
  try {
    return await Promise.race([answer, silence]);
  } catch (error) {
    if (error instanceof TenantSilent) throw error;
    console.error(error);
    throw new TenantSilent(error);
  } finally {
    clearTimeout(timer);
  }
}
