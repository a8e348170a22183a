/** The answers that run now, of everybody: whose, by which model, where, for how long. What they say is not the owner's. */
import { el } from "../dom.ts";
import { type Gateway, isRecord } from "../gateway.ts";
import { number, refreshedSection, sizeText, unheardNotes } from "./section.ts";

export function sessionsSection(gateway: Gateway): HTMLElement {
  const load = async () => {
    const list = await gateway.get("/v1/admin/sessions");
    const told = isRecord(list) ? list : {};
    const rows = Array.isArray(told.data) ? told.data.filter(isRecord).map(sessionRow) : [];
    const nobody = el("p", { class: "note" }, "Nobody is being answered now.");
    return [
      rows.length > 0 ? el("ul", { class: "rows" }, ...rows) : nobody,
      ...(number(told.more) > 0 ? [el("p", { class: "note" }, `And ${number(told.more)} more.`)] : []),
      ...unheardNotes(told),
    ];
  };
  return refreshedSection("Live answers", load, "This gateway does not tell what runs now.");
}

function sessionRow({ tenant, key, model, origin, started_at, bytes }: Record<string, unknown>): HTMLElement {
  const began = new Date(1_000 * number(started_at));
  const where = [model ?? "no model named", origin ?? "no origin yet"].map(String);
  const since = el("time", { dateTime: began.toISOString(), title: began.toLocaleString("en") }, lasting(began));
  return el(
    "li",
    {},
    el("div", { class: "row-text" }, el("b", {}, String(tenant)), ` · ${key}`, note(where.join(" · "))),
    el("div", { class: "row-figures" }, since, note(sizeText(bytes))),
  );
}

function note(text: string): HTMLElement {
  return el("span", { class: "note" }, text);
}

/** By this device's clock, which may be another than the gateway's. */
function lasting(since: Date): string {
  const seconds = Math.max(0, Math.round((Date.now() - since.getTime()) / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
