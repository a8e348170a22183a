/** A card whose content is asked for: it waits, shows it, or says why it cannot. */
import { el, iconButton } from "../dom.ts";
import { Refusal } from "../gateway.ts";

const MISSING = "This gateway does not offer it.";

export function section(title: string, load: () => Promise<Node[]>, missing = MISSING): HTMLElement {
  const { card, show } = cardOf(title, el("h2", {}, title), load, missing);
  show();
  return card;
}

/** The same for what changes by the second, with a button that asks again. */
export function refreshedSection(title: string, load: () => Promise<Node[]>, missing: string): HTMLElement {
  const refresh = iconButton("again", `Refresh: ${title}`, () => show());
  const head = el("div", { class: "card-head" }, el("h2", {}, title), refresh);
  const { card, show } = cardOf(title, head, load, missing);
  show();
  return card;
}

function cardOf(title: string, head: HTMLElement, load: () => Promise<Node[]>, missing: string) {
  const body = el("div", { class: "card-body" }, el("p", { class: "note" }, "Asking …"));
  const card = el("section", { class: "card", aria: { label: title } }, head, body);
  let asked = 0;
  const show = () => {
    asked += 1;
    const number = asked;
    const place = (content: Node[]) => {
      // Of two answers the one that was asked for last stays.
      if (number === asked) body.replaceChildren(...content);
    };
    load().then(place, (error: unknown) => place([el("p", { class: "note" }, problemText(error, missing))]));
  };
  return { card, show };
}

export function problemText(error: unknown, missing: string): string {
  if (!(error instanceof Refusal))
    return `The gateway cannot be reached (${error instanceof Error ? error.message : error}).`;
  return error.status === 404 ? missing : error.message;
}

/** What the gateway could not ask: the list of the tenants that were made, the records of some. */
export function unheardNotes({ directory, missing }: Record<string, unknown>): HTMLElement[] {
  const notes = Array.isArray(missing) && missing.length > 0 ? [withoutNote(missing.map(String))] : [];
  if (directory !== "away") return notes;
  return [lossNote("Without those who were added here: the list of them did not answer."), ...notes];
}

export function withoutNote(names: readonly string[]): HTMLElement {
  const some = names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${names.length - 10} more` : "");
  return lossNote(`Without ${some}: ${names.length === 1 ? "that record" : "their records"} did not answer.`);
}

function lossNote(text: string): HTMLElement {
  return el("p", { class: "loss" }, text);
}

export function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

export function shown(value: number): string {
  return value.toLocaleString("en", value >= 10_000 ? { notation: "compact", maximumFractionDigits: 1 } : {});
}

export function sizeText(bytes: unknown): string {
  const kib = number(bytes) / 1_024;
  if (kib < 1_024) return `${Math.round(kib)} KiB`;
  const mib = kib / 1_024;
  const short = { maximumFractionDigits: 1 };
  return mib < 1_024 ? `${mib.toLocaleString("en", short)} MiB` : `${(mib / 1_024).toLocaleString("en", short)} GiB`;
}

export function tile(name: string, value: string): HTMLElement {
  return el(
    "div",
    { class: "tile" },
    el("span", { class: "tile-value" }, value),
    el("span", { class: "tile-name" }, name),
  );
}
