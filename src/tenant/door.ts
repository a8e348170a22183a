/**
 * The Worker's side of a tenant's object: who waits for it, who does not, and what is remembered meanwhile.
 *
 *   issued key, or limits set   the request waits for `admit`, made while its body is read
 *   neither                     nobody waits; "no limits" is remembered for 10 s and asked again beside a request
 *   not known yet               waits, once in 10 s per isolate
 *
 * All that is kept here is per isolate and may be lost.
 */
import { type Caller, invalidKey } from "../auth.ts";
import { configOf } from "../config.ts";
import { ApiError } from "../errors.ts";
import { Admission, type AdmissionHost } from "./admission.ts";
import { askTenant, TenantSilent } from "./ask-tenant.ts";
import { holdsAt } from "./key-registry.ts";
import {
  type AdmitAnswer,
  type AdmitRequest,
  type IndexAnswer,
  type KeyAnswer,
  OWNER_KEY,
  type Scope,
} from "./messages.ts";
import { Remembered } from "./remembered.ts";
import { UnknownIds } from "./unknown-ids.ts";

/** How long "has no limits" is believed. */
const LIMITS_MS = 10_000;
/** Older than this it is asked again beside a request, so that under traffic nobody ever waits. */
const LIMITS_REFRESH_MS = 5_000;
/** How long a key that was removed, or changed, can still read. For generating it ends at once. */
const READ_LAG_MS = 10_000;
const MAX_REMEMBERED = 10_000;

const doors = new WeakMap<object, Door>();

export function doorOf(env: Env): Door {
  let door = doors.get(env);
  if (!door) {
    door = new Door(env);
    doors.set(env, door);
  }
  return door;
}

export class Door {
  readonly #env: Env;
  readonly #admissions = new Remembered<AdmitAnswer>(MAX_REMEMBERED);
  readonly #keys = new Remembered<KeyAnswer>(MAX_REMEMBERED);
  readonly #unknown = new UnknownIds();

  constructor(env: Env) {
    this.#env = env;
  }

  /** Starts asking for a generating request; `conversation` is absent on the strict path. Call it before the body is read. */
  admit(caller: Caller, conversation: string | undefined, waitUntil: (work: Promise<unknown>) => void): Admission {
    const host: AdmissionHost = {
      hold: (hold) => this.#ask(caller, (tenant) => tenant.hold(hold)),
      release: (ticket) => waitUntil(this.#ask(caller, (tenant) => tenant.released(ticket)).catch(logged)),
    };
    const ticket = crypto.randomUUID();
    const request: AdmitRequest = {
      ticket,
      ...(conversation !== undefined && { conversation }),
      ...(caller.keyHash !== undefined && { keyHash: caller.keyHash }),
    };
    const known =
      caller.keyHash === undefined ? this.#admissions.find(caller.tenant, Date.now(), LIMITS_MS) : undefined;
    if (!known || known.answer.isLimited) return new Admission(request, this.#admit(caller, request), host);
    if (known.ageMs > LIMITS_REFRESH_MS) waitUntil(this.#askAdmit(caller, request).catch(logged));
    return new Admission(request, Promise.resolve(known.answer), host);
  }

  /** Whether an issued key still holds, and may do this; believed for READ_LAG_MS. Throws 401 or 403. */
  async requireScope(caller: Caller, scope: Scope, maxAgeMs = READ_LAG_MS): Promise<void> {
    const { keyHash } = caller;
    if (keyHash === undefined) return;
    const known = this.#keys.find(keyHash, Date.now(), maxAgeMs)?.answer;
    const key = known ?? (await this.#ask(caller, (tenant) => tenant.keyOf(keyHash)));
    if (!known) this.#keys.set(keyHash, key, Date.now());
    if (!key.isKnown || !holdsAt(key, Date.now())) throw invalidKey();
    if (key.scopes.includes(scope)) return;
    throw new ApiError(403, "permission_error", `Key "${key.name}" may ${key.scopes.join(", ")}, not ${scope}`);
  }

  /** Somebody asked for a conversation that is not there. */
  noteUnknown({ tenant }: Caller): void {
    this.#unknown.note(tenant, Date.now());
  }

  /** Whether it may be there. Asks only for a tenant that named many that were not. */
  async mayExist(caller: Caller, conversation: string): Promise<boolean> {
    if (!this.#unknown.areMany(caller.tenant, Date.now())) return true;
    return await this.#ask(caller, (tenant) => tenant.knows(conversation));
  }

  lookup(caller: Caller, conversations: readonly string[]): Promise<IndexAnswer> {
    return this.#ask(caller, (tenant) => tenant.lookup(conversations));
  }

  #ask<T>({ tenant }: Caller, ask: (stub: ReturnType<Env["TENANT"]["getByName"]>) => Promise<T>): Promise<T> {
    return askTenant(this.#env.TENANT, tenant, ask);
  }

  /** As `#askAdmit`; where no owner can have set limits, a silent object is no reason to refuse. */
  async #admit(caller: Caller, request: AdmitRequest): Promise<AdmitAnswer> {
    try {
      return await this.#askAdmit(caller, request);
    } catch (error) {
      const canHaveLimits = caller.keyHash !== undefined || configOf(this.#env).adminKey !== undefined;
      if (!(error instanceof TenantSilent) || canHaveLimits) throw error;
      return { key: OWNER_KEY, isLimited: false, countsLive: false, bodyLimits: [] };
    }
  }

  async #askAdmit(caller: Caller, request: AdmitRequest): Promise<AdmitAnswer> {
    const answer = await this.#ask(caller, (tenant) => tenant.admit(request));
    if (caller.keyHash === undefined) this.#admissions.set(caller.tenant, answer, Date.now());
    return answer;
  }
}

function logged(error: unknown): void {
  console.error(error);
}
