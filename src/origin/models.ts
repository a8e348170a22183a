/** An origin's list of models, and many such lists as one. Pure: the lists are what origins sent, so none is trusted. */

/** As a llama-server in router mode says it; a server without routing has its models loaded. */
export type ModelStatus = "loaded" | "sleeping" | "loading" | "unloaded";

export interface ModelList {
  /** By id, and by each alias. */
  readonly statuses: ReadonlyMap<string, ModelStatus>;
  /** OpenAI's rows. */
  readonly data: readonly Row[];
  /** The rows that llama-server adds in Ollama's shape. */
  readonly models: readonly Row[];
}

export type Row = Readonly<Record<string, unknown>>;

/** A big Ollama or router has some hundred. */
const MAX_ROWS = 1_000;
const MAX_NAMES_PER_ROW = 16;
/** As long as a model's name in a request is read. */
const MAX_NAME_LENGTH = 1_024;

/** `undefined` when the text is no list of models. */
export function parseModels(text: string): ModelList | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Cut, or a page of whatever stands in front of the server.
    return undefined;
  }
  if (!isRow(json) || !Array.isArray(json.data)) return undefined;
  const data = rowsOf(json.data);
  const statuses = new Map<string, ModelStatus>();
  for (const row of data) {
    const status = statusOf(row);
    for (const name of namesOf(row)) if (!statuses.has(name)) statuses.set(name, status);
  }
  return { statuses, data, models: Array.isArray(json.models) ? rowsOf(json.models) : [] };
}

/**
 * One answer of several: a row for each model, the one of the origin where it is soonest ready, with that origin's name and
 * the names of all that have it. Clients key their lists by the id, so none is there twice.
 */
export function mergeModels(lists: ReadonlyMap<string, ModelList>): Row {
  const data = mergeRows(lists, ({ data }) => data, "id");
  const models = mergeRows(lists, ({ models }) => models, "model");
  return models.length > 0 ? { models, object: "list", data } : { object: "list", data };
}

const SOONEST: readonly ModelStatus[] = ["loaded", "loading", "sleeping", "unloaded"];

function mergeRows(lists: ReadonlyMap<string, ModelList>, rowsIn: (list: ModelList) => readonly Row[], key: string) {
  const merged = new Map<unknown, { row: Row; origin: string; origins: string[]; place: number }>();
  for (const [origin, list] of lists) {
    for (const row of rowsIn(list)) {
      const place = SOONEST.indexOf(statusOf(row));
      const known = merged.get(row[key]);
      if (!known) merged.set(row[key], { row, origin, origins: [origin], place });
      else {
        if (!known.origins.includes(origin)) known.origins.push(origin);
        if (place < known.place) Object.assign(known, { row, origin, place });
      }
    }
  }
  return Array.from(merged.values(), ({ row, origin, origins }): Row => ({ ...row, origin, origins }));
}

function rowsOf(list: readonly unknown[]): Row[] {
  return list.slice(0, MAX_ROWS).filter(isRow);
}

/** What is listed without a status can be asked; what is being downloaded, or failed to load, is as good as not loaded. */
function statusOf({ status }: Row): ModelStatus {
  if (!isRow(status)) return "loaded";
  const { value } = status;
  return value === "loaded" || value === "sleeping" || value === "loading" ? value : "unloaded";
}

function namesOf({ id, aliases }: Row): string[] {
  const names: unknown[] = [id, ...(Array.isArray(aliases) ? aliases.slice(0, MAX_NAMES_PER_ROW) : [])];
  return names.filter((name): name is string => {
    return typeof name === "string" && name !== "" && name.length <= MAX_NAME_LENGTH;
  });
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
