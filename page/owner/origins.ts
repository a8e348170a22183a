/** The llama-servers behind the gateway: whether each is there, what it serves, and how busy it is. */
import { el } from "../dom.ts";
import { type Gateway, isRecord } from "../gateway.ts";
import { number, section } from "./section.ts";

export function originsSection(gateway: Gateway): HTMLElement {
  const load = async () => {
    const status = await gateway.get("/v1/admin/status");
    const origins = isRecord(status) && Array.isArray(status.origins) ? status.origins.filter(isRecord) : [];
    if (origins.length === 0) return [el("p", { class: "note" }, "The gateway names no origins.")];
    return [el("ul", { class: "rows" }, ...origins.map(originRow))];
  };
  return section("Origins", load, "This gateway does not tell how its origins are.");
}

function originRow({ name, state, models, slots }: Record<string, unknown>): HTMLElement {
  const isThere = state === "there";
  const served = isRecord(models) ? Object.entries(models).map(([model, status]) => modelText(model, status)) : [];
  return el(
    "li",
    {},
    el("span", { class: `dot ${isThere ? "well" : "ill"}` }),
    el("div", { class: "row-text" }, el("b", {}, String(name)), el("span", { class: "note" }, served.join(", "))),
    el("span", {}, isThere ? slotsText(slots) : "away"),
  );
}

function modelText(model: string, status: unknown): string {
  return status === "loaded" || typeof status !== "string" || status === "" ? model : `${model} (${status})`;
}

function slotsText(slots: unknown): string {
  return isRecord(slots) ? `${number(slots.busy)} of ${number(slots.total)} slots busy` : "there";
}
