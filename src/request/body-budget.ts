/**
 * How many bytes of request bodies each tenant may make this isolate hold at once: a body counts from the moment it is
 * read until its request is answered. The isolate's memory belongs to all tenants.
 */
import type { Tenant } from "../auth.ts";
import { ApiError } from "../errors.ts";

/** An answer frees its request's bytes: most come in seconds. */
const RETRY_AFTER_SECONDS = 1;

/** What one request holds. */
export interface BodyShare {
  /** Throws 429 when the tenant would hold more than it may. */
  take(bytes: number): void;
}

export class BodyBudget {
  readonly #heldBytes = new Map<Tenant, number>();

  /** Runs `use` with a share of the tenant's budget, and gives back what that took when it is over. */
  async share<Value>(tenant: Tenant, maxBytes: number, use: (share: BodyShare) => Promise<Value>): Promise<Value> {
    let taken = 0;
    const take = (bytes: number) => {
      const held = this.#held(tenant);
      if (held + bytes > maxBytes) throw overBudget(held, bytes, maxBytes);
      this.#heldBytes.set(tenant, held + bytes);
      taken += bytes;
    };
    try {
      return await use({ take });
    } finally {
      this.#giveBack(tenant, taken);
    }
  }

  #held(tenant: Tenant): number {
    return this.#heldBytes.get(tenant) ?? 0;
  }

  #giveBack(tenant: Tenant, bytes: number): void {
    const held = this.#held(tenant) - bytes;
    if (held > 0) this.#heldBytes.set(tenant, held);
    else this.#heldBytes.delete(tenant);
  }
}

function overBudget(held: number, bytes: number, maxBytes: number): ApiError {
  const message =
    `Requests of yours that are not answered yet hold ${held} bytes of bodies here; ` +
    `${bytes} more are over the limit of ${maxBytes} bytes`;
  return new ApiError(429, "rate_limit_exceeded", message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
}
