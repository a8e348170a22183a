/** What every handler finds in its context. */
import type { Caller, Tenant } from "./auth.ts";
import type { Config } from "./config.ts";

export interface AppEnv {
  Bindings: Env;
  Variables: { config: Config; caller: Caller; tenant: Tenant };
}
