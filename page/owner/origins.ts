/** The llama-servers behind the gateway, and how they are. */
import { el } from "../dom.ts";
import { type Gateway, isRecord } from "../gateway.ts";
import { section } from "./section.ts";

export function originsSection(gateway: Gateway): HTMLElement {
  const load = async () => {
    const status = await gateway.get("/v1/admin/status");
    const origins = isRecord(status) && Array.isArray(status.origins) ? status.origins.filter(isRecord) : [];
    if (origins.length === 0) return [el("p", { class: "note" }, "The gateway names no origins.")];
    return [el("ul", { class: "rows" }, ...origins.map(originRow))];
  };
  return section("Origins", load, "This gateway does not tell how its origins are.");
}

function originRow(origin: Record<string, unknown>): HTMLElement {
  const health = String(origin.health ?? origin.state ?? origin.status ?? "unknown");
  const isWell = /^(ok|healthy|up|ready)$/i.test(health);
  const models = Array.isArray(origin.models) ? origin.models.map(String).join(", ") : "";
  return el(
    "li",
    {},
    el("span", { class: `dot ${isWell ? "well" : "ill"}` }),
    el(
      "div",
      { class: "row-text" },
      el("b", {}, String(origin.name ?? origin.url ?? "origin")),
      models !== "" && el("span", { class: "note" }, models),
    ),
    el("span", {}, health),
  );
}
