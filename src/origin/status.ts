/** What the owner sees of the origins: see GET /v1/admin/status. */
import type { OriginConfig } from "./origins-config.ts";
import { poolOf } from "./pool.ts";
import type { PooledOrigin } from "./pooled-origin.ts";

export interface OriginStatus {
  readonly name: string;
  /** `away`: it did not answer just now. */
  readonly state: "there" | "away";
  readonly weight: number;
  /** By name; `undefined`: it lists none. */
  readonly models: Readonly<Record<string, string>> | undefined;
  /** `undefined`: it does not show them (llama-server does unless started with --no-slots). */
  readonly slots: { readonly total: number; readonly busy: number } | undefined;
}

/** Asks every origin, now; takes as long as the slowest of them, and two seconds at most. */
export async function originStatus(origins: readonly OriginConfig[]): Promise<OriginStatus[]> {
  const pool = poolOf(origins);
  const known = pool.names.flatMap((name) => pool.get(name) ?? []);
  return await Promise.all(known.map(statusOf));
}

async function statusOf(origin: PooledOrigin): Promise<OriginStatus> {
  const [list, slots] = await Promise.all([origin.askModels(), origin.ask("/slots")]);
  const { name, weight } = origin.config;
  return {
    name,
    state: origin.isAvailable ? "there" : "away",
    weight,
    models: list && Object.fromEntries(list.statuses),
    slots: typeof slots !== "string" && slots.status === 200 ? slotsIn(slots.text) : undefined,
  };
}

function slotsIn(text: string): OriginStatus["slots"] {
  try {
    const rows: unknown = JSON.parse(text);
    if (!Array.isArray(rows)) return undefined;
    const busy = rows.filter((row: unknown) => isBusy(row)).length;
    return { total: rows.length, busy };
  } catch {
    // No JSON: something else than a llama-server answers there.
    return undefined;
  }
}

function isBusy(row: unknown): boolean {
  return typeof row === "object" && row !== null && "is_processing" in row && row.is_processing === true;
}
