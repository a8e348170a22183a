/** What every handler finds in its context. */
import type { Tenant } from "./auth.ts";
import type { Config } from "./config.ts";

export interface AppEnv {
  Bindings: Env;
  Variables: { config: Config; tenant: Tenant };
}
