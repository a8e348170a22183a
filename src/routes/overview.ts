/** What the gateway is doing, for its owner: its origins, and the sessions that are live. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { originStatus } from "../origin/status.ts";
import { DAY_MS } from "../tenant/key-registry.ts";
import { addShare, byAge, type LiveEntry, NO_SHARE, type OriginShare } from "../tenant/overview.ts";
import { askAll } from "./all-tenants.ts";

/** Sessions in one answer: more than anybody reads. */
const MAX_SESSIONS = 200;

/** GET /v1/admin/status: asks every origin and every tenant's object, now; what does not answer is named. */
export async function status(c: Context<AppEnv>): Promise<Response> {
  const today = Math.floor(Date.now() / DAY_MS);
  const shares = new Map<string, OriginShare>();
  const [there, unheard] = await Promise.all([
    originStatus(c.get("config").origins),
    askAll(
      c,
      (tenant) => tenant.origins(today),
      (ofTenant) => {
        for (const [origin, share] of ofTenant) addShare(shares, origin, share);
      },
    ),
  ]);
  const origins = there.map((origin) => ({ ...origin, ...(shares.get(origin.name) ?? NO_SHARE) }));
  const gone = Array.from(shares)
    .filter(([name]) => !there.some((origin) => origin.name === name))
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, share]) => ({ name, state: "gone", ...share }));
  return c.json({ origins: [...origins, ...gone], ...unheard });
}

/** GET /v1/admin/sessions: the longest running first. */
export async function sessions(c: Context<AppEnv>): Promise<Response> {
  let listed: (LiveEntry & { tenant: string })[] = [];
  let total = 0;
  const unheard = await askAll(
    c,
    (tenant) => tenant.sessions(MAX_SESSIONS),
    (list, tenant) => {
      total += list.total;
      const named = list.sessions.map((session) => ({ tenant, ...session }));
      listed = [...listed, ...named].toSorted(byAge).slice(0, MAX_SESSIONS);
    },
  );
  return c.json({ object: "list", data: listed, more: total - listed.length, ...unheard });
}
