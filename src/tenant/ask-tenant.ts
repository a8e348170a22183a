/** From a tenant's name to its object, and questions to it that end in time. */
import { ApiError } from "../errors.ts";
import { askInTime, SILENCE_MS } from "./ask-in-time.ts";
import type { Tenant } from "./tenant.ts";

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
  return await askInTime(
    () => ask(namespace.getByName(tenant)),
    (cause) => new TenantSilent(cause),
  );
}
