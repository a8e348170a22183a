/** People (tenants), their limits and keys. A new key is shown once, as a link and a code that sign a phone in. */
import { linkTo } from "../account.ts";
import { copyText } from "../clipboard.ts";
import { askWhether, openDialog, tell } from "../dialog.ts";
import { el, iconButton } from "../dom.ts";
import { type Gateway, isRecord, Refusal } from "../gateway.ts";
import { qrCode } from "../qr-code.ts";
import { number, problemText, section, sizeText, withoutNote } from "./section.ts";

const MISSING = "This gateway has no admin routes.";
/** Asked one by one: no more than a person looks through. */
const MOST = 100;

export function peopleSection(gateway: Gateway): HTMLElement {
  const place = el("div", {});
  const show = () => place.replaceChildren(section("People and keys", () => content(gateway, show), MISSING));
  show();
  return place;
}

async function content(gateway: Gateway, onChange: () => void): Promise<Node[]> {
  const list = await gateway.get("/v1/admin/tenants");
  const names = isRecord(list) && Array.isArray(list.data) ? list.data.map(String) : [];
  const told = await Promise.all(names.slice(0, MOST).map((name) => entryOf(gateway, name)));
  const people = told.filter((entry) => entry !== undefined).map((entry) => person(gateway, entry, onChange));
  const silent = names.filter((_, i) => i < MOST && told[i] === undefined);
  const without = silent.length > 0 ? [withoutNote(silent)] : [];
  const more = names.length > MOST ? [el("p", { class: "note" }, `And ${names.length - MOST} more.`)] : [];
  return [addForm(gateway, onChange), el("ul", { class: "people" }, ...people), ...more, ...without];
}

/** `undefined`: the record of this one did not answer; the others are shown all the same. */
async function entryOf(gateway: Gateway, tenant: string): Promise<Record<string, unknown> | undefined> {
  try {
    const entry = await gateway.get(pathOf(tenant));
    return isRecord(entry) ? entry : undefined;
  } catch (error) {
    if (error instanceof Refusal && error.status === 503) return undefined;
    throw error;
  }
}

function person(gateway: Gateway, entry: Record<string, unknown>, onChange: () => void): HTMLElement {
  const name = String(entry.tenant ?? "");
  const keys = Array.isArray(entry.keys) ? entry.keys.filter(isRecord) : [];
  const live = number(entry.live);
  return el(
    "li",
    { class: "person" },
    el(
      "div",
      { class: "person-head" },
      el("b", {}, name),
      live > 0 && el("span", { class: "live-count" }, `${live} live`),
      el("span", { class: "note" }, `${sizeText(entry.kept_bytes)} kept`),
      el(
        "button",
        {
          type: "button",
          class: "text-button",
          on: { click: () => editLimits(gateway, name, entry.limits, onChange) },
        },
        limitsText(entry.limits),
      ),
    ),
    el("ul", { class: "keys" }, ...keys.map((key) => keyRow(gateway, name, key, onChange))),
  );
}

function keyRow(gateway: Gateway, tenant: string, key: Record<string, unknown>, onChange: () => void): HTMLElement {
  const name = String(key.name ?? "");
  const used = key.last_used_at === null ? "never used" : `used ${dayOf(number(key.last_used_at))}`;
  const until = key.expires_at === null ? "" : `, until ${dayOf(number(key.expires_at))}`;
  const remove = iconButton("bin", `Remove the key ${name} of ${tenant}`, async () => {
    if (!(await askWhether(`Remove the key “${name}” of ${tenant}? It stops working at once.`, "Remove"))) return;
    await order(onChange, () => gateway.send("DELETE", `${pathOf(tenant)}/keys/${encodeURIComponent(name)}`));
  });
  return el("li", {}, el("span", { class: "row-text" }, name, el("span", { class: "note" }, used + until)), remove);
}

function addForm(gateway: Gateway, onChange: () => void): HTMLElement {
  const tenant = el("input", {
    required: true,
    pattern: "[A-Za-z0-9_.\\-]{1,64}",
    placeholder: "anna",
  });
  const device = el("input", {
    required: true,
    pattern: "[A-Za-z0-9_.\\-]{1,64}",
    placeholder: "phone",
  });
  const form = el(
    "form",
    { class: "inline-form" },
    el("label", { class: "field" }, "Person", tenant),
    el("label", { class: "field" }, "Key for", device),
    el("button", { type: "submit", class: "button primary" }, "Make a key"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await order(onChange, async () => {
      const made = await gateway.send("POST", `${pathOf(tenant.value.trim())}/keys`, { name: device.value.trim() });
      if (isRecord(made)) showKey(String(made.tenant), String(made.name), String(made.key));
    });
  });
  return form;
}

function showKey(tenant: string, name: string, key: string): void {
  const link = linkTo({ key });
  const copy = (text: string, what: string) => async () => tell((await copyText(text)) ? `${what} is copied` : text);
  openDialog(
    `The key “${name}” of ${tenant}`,
    el("p", {}, "Scan this with the phone: it opens this page, signed in. The key is shown this once."),
    qrCode(link, "The code of the sign-in link"),
    el("code", { class: "key-text" }, key),
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", class: "button", on: { click: copy(link, "The link") } }, "Copy the link"),
      el("button", { type: "button", class: "button", on: { click: copy(key, "The key") } }, "Copy the key"),
    ),
  );
}

const LIMITS = {
  rpm: "Requests per minute",
  live: "Answers at the same time",
  bytes: "Bytes kept",
  body: "Bytes of a request",
} as const;

function editLimits(gateway: Gateway, tenant: string, current: unknown, onChange: () => void): void {
  const known = isRecord(current) ? current : {};
  const fields = Object.entries(LIMITS).map(([name, label]) => {
    const value = known[name];
    return {
      name,
      label,
      input: el("input", {
        type: "number",
        min: "0",
        id: `limit-${name}`,
        value: value === undefined ? "" : String(value),
      }),
    };
  });
  const models = el("input", {
    id: "limit-models",
    value: Array.isArray(known.models) ? known.models.join(" ") : "",
    placeholder: "qwen* gemma*",
  });
  const form = el(
    "form",
    { class: "limits-form" },
    ...fields.flatMap(({ name, label, input }) => [el("label", { htmlFor: `limit-${name}` }, label), input]),
    el("label", { htmlFor: "limit-models" }, "Models"),
    models,
    el("p", { class: "note" }, "An empty field is no limit."),
    el("button", { type: "submit", class: "button primary" }, "Save"),
  );
  const dialog = openDialog(`Limits of ${tenant}`, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const globs = models.value.split(/[\s,]+/).filter(Boolean);
    const numbers = fields.map(({ name, input }) => [name, input.value === "" ? null : Number(input.value)]);
    const limits = { ...Object.fromEntries(numbers), models: globs.length > 0 ? globs : null };
    await order(onChange, () => gateway.send("PATCH", pathOf(tenant), { limits }));
    dialog.close();
  });
}

function limitsText(limits: unknown): string {
  const known = isRecord(limits) ? Object.entries(limits) : [];
  if (known.length === 0) return "no limits";
  return known.map(([name, value]) => `${name} ${limitText(name, value)}`).join(", ");
}

function limitText(name: string, value: unknown): string {
  if (Array.isArray(value)) return value.join(" ");
  return name === "bytes" || name === "body" ? sizeText(value) : String(value);
}

async function order(onChange: () => void, give: () => Promise<unknown>): Promise<void> {
  try {
    await give();
    onChange();
  } catch (error) {
    tell(problemText(error, MISSING));
  }
}

function pathOf(tenant: string): string {
  return `/v1/admin/tenants/${encodeURIComponent(tenant)}`;
}

function dayOf(seconds: number): string {
  return new Date(1_000 * seconds).toLocaleDateString("en", { day: "numeric", month: "short" });
}
