/** The llama-servers behind the gateway: whether each is there, what it serves, how busy it is, how its answers ended. */
import { el } from "../dom.ts";
import { type Gateway, isRecord } from "../gateway.ts";
import { number, refreshedSection, shown, unheardNotes } from "./section.ts";

export function originsSection(gateway: Gateway): HTMLElement {
  const load = async () => {
    const status = await gateway.get("/v1/admin/status");
    const told = isRecord(status) ? status : {};
    const rows = Array.isArray(told.origins) ? told.origins.filter(isRecord).map(originRow) : [];
    return [el("ul", { class: "rows" }, ...rows), ...unheardNotes(told)];
  };
  return refreshedSection("Origins", load, "This gateway does not tell how its origins are.");
}

function originRow(origin: Record<string, unknown>): HTMLElement {
  const { name, state, models, live } = origin;
  const served = isRecord(models) ? Object.entries(models).map(([model, status]) => modelText(model, status)) : [];
  return el(
    "li",
    { class: "origin" },
    el(
      "div",
      { class: "origin-head" },
      el("span", { class: `dot ${state === "there" ? "well" : "ill"}` }),
      el("b", {}, String(name)),
      number(live) > 0 && el("span", { class: "live-count" }, `${shown(number(live))} live`),
      el("span", { class: "origin-state" }, stateText(origin)),
    ),
    served.length > 0 && el("p", { class: "note" }, served.join(", ")),
    counted("Today", origin.today),
    counted("7 days", origin.last_7_days),
  );
}

function modelText(model: string, status: unknown): string {
  return status === "loaded" || typeof status !== "string" || status === "" ? model : `${model} (${status})`;
}

function stateText({ state, slots }: Record<string, unknown>): string {
  if (state === "gone") return "not in ORIGINS any more";
  if (state !== "there") return "away";
  return isRecord(slots) ? `${number(slots.busy)} of ${number(slots.total)} slots busy` : "there";
}

/** `Today 12: 10 done, 2 stopped, 1 re-attached`, the most frequent first; nothing where there was nothing. */
function counted(when: string, counts: unknown): HTMLElement | undefined {
  if (!isRecord(counts) || number(counts.requests) === 0) return undefined;
  const ends = Object.entries(isRecord(counts.ends) ? counts.ends : {}).sort(([, a], [, b]) => number(b) - number(a));
  const words = ends.map(([end, count]) => `${shown(number(count))} ${end}`);
  if (number(counts.reattached) > 0) words.push(`${shown(number(counts.reattached))} re-attached`);
  return el("p", { class: "note" }, el("b", {}, `${when} ${shown(number(counts.requests))}:`), ` ${words.join(", ")}`);
}
