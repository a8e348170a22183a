/** What the gateway did: one's own usage, and with the admin key everybody's, their keys, live answers and origins. */
import { forgetKey, keepKey, keptKey } from "../account.ts";
import { el, iconButton } from "../dom.ts";
import { Gateway, Refusal } from "../gateway.ts";
import { originsSection } from "./origins.ts";
import { peopleSection } from "./people.ts";
import { sessionsSection } from "./sessions.ts";
import { usageSection } from "./usage.ts";

export function ownerPage(key: string, onBack: () => void): HTMLElement {
  const content = el("div", { class: "owner-content" });
  const title = el("h1", {}, "Usage");
  const show = () => {
    const adminKey = keptKey("admin");
    title.textContent = adminKey ? "Owner" : "Usage";
    content.replaceChildren(
      ...(adminKey ? ownersSections(new Gateway(adminKey), key, show) : personsSections(key, show)),
    );
  };
  show();
  const head = el("header", { class: "head" }, iconButton("back", "Back to the chat", onBack), title);
  return el(
    "main",
    { class: "owner" },
    head,
    el("div", { class: "scroller", tabIndex: 0, role: "region", aria: { label: "Usage" } }, content),
  );
}

function personsSections(key: string, onSignIn: () => void): HTMLElement[] {
  return [usageSection("Your usage", (query) => new Gateway(key).get(`/v1/usage?${query}`)), adminForm(onSignIn)];
}

function ownersSections(gateway: Gateway, key: string, onSignOut: () => void): HTMLElement[] {
  const signOut = el("button", { type: "button", class: "text-button" }, "Forget the admin key on this device");
  signOut.addEventListener("click", () => {
    forgetKey("admin");
    onSignOut();
  });
  return [
    sessionsSection(gateway),
    originsSection(gateway),
    usageSection("Everybody’s usage", (query) => gateway.get(`/v1/admin/usage?${query}`)),
    peopleSection(gateway),
    usageSection("Your own usage", (query) => new Gateway(key).get(`/v1/usage?${query}`)),
    signOut,
  ];
}

function adminForm(onKey: () => void): HTMLElement {
  const field = el("input", { type: "password", required: true, autocomplete: "off" });
  const error = el("p", { class: "loss", role: "alert" });
  const form = el(
    "form",
    { class: "inline-form" },
    el("label", { class: "field" }, "Admin key", field),
    el("button", { type: "submit", class: "button" }, "Open"),
    error,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    error.textContent = await problemWith(key);
    if (error.textContent !== "") return;
    keepKey(key, "admin");
    onKey();
  });
  return el(
    "details",
    { class: "card" },
    el("summary", {}, "You run this gateway?"),
    el("p", { class: "note" }, "The admin key (ADMIN_KEY) opens people, keys, live answers and origins."),
    form,
  );
}

async function problemWith(key: string): Promise<string> {
  try {
    await new Gateway(key).get("/v1/admin/tenants");
    return "";
  } catch (error) {
    if (!(error instanceof Refusal)) return "The gateway cannot be reached.";
    if (error.status === 404) return "This gateway has no admin key set (ADMIN_KEY).";
    return error.status === 401 ? "That is not the admin key." : error.message;
  }
}
