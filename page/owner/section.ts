/** A card whose content is asked for: it waits, shows it, or says why it cannot. */
import { el } from "../dom.ts";
import { Refusal } from "../gateway.ts";

export function section(
  title: string,
  load: () => Promise<Node[]>,
  missing = "This gateway does not offer it.",
): HTMLElement {
  const body = el("div", { class: "card-body" }, el("p", { class: "note" }, "Asking …"));
  const card = el("section", { class: "card", aria: { label: title } }, el("h2", {}, title), body);
  load().then(
    (content) => body.replaceChildren(...content),
    (error: unknown) => body.replaceChildren(el("p", { class: "note" }, problemText(error, missing))),
  );
  return card;
}

export function problemText(error: unknown, missing: string): string {
  if (!(error instanceof Refusal))
    return `The gateway cannot be reached (${error instanceof Error ? error.message : error}).`;
  return error.status === 404 ? missing : error.message;
}

export function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

export function shown(value: number): string {
  return value.toLocaleString("en", value >= 10_000 ? { notation: "compact", maximumFractionDigits: 1 } : {});
}

export function tile(name: string, value: string): HTMLElement {
  return el(
    "div",
    { class: "tile" },
    el("span", { class: "tile-value" }, value),
    el("span", { class: "tile-name" }, name),
  );
}
