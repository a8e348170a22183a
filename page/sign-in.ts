/** Before there is a key: one field. The key is tried before it is kept. */
import { el } from "./dom.ts";
import { Gateway, Refusal } from "./gateway.ts";

export function signInPage(onKey: (key: string) => void, problem = ""): HTMLElement {
  const field = el("input", {
    type: "password",
    name: "key",
    required: true,
    autocomplete: "current-password",
    autocapitalize: "off",
    spellcheck: false,
    id: "key",
  });
  const error = el("p", { class: "loss", role: "alert" }, problem);
  const button = el("button", { type: "submit", class: "button primary" }, "Sign in");
  const form = el(
    "form",
    { class: "sign-in-form" },
    el("label", { htmlFor: "key" }, "Your API key"),
    field,
    error,
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    button.disabled = true;
    error.textContent = await problemWith(key);
    button.disabled = false;
    if (error.textContent === "") onKey(key);
  });
  return el(
    "main",
    { class: "sign-in" },
    el("img", { src: "/page/icon.svg", alt: "", width: 72, height: 72 }),
    el("h1", {}, "Holdfast"),
    el("p", { class: "lead" }, "A chat with your own GPU, whose answers survive the network."),
    form,
    el(
      "p",
      { class: "note" },
      "Whoever runs this gateway gives you the key. It is kept on this device, and sent to this gateway only.",
    ),
    isOwnMachine() && el("p", { class: "note" }, KEPT_KEY),
    !isSecureContext && el("p", { class: "note" }, INSECURE),
  );
}

const KEPT_KEY =
  "On this machine the key is in the file api-key of the gateway’s storage: .holdfast/api-key after npm start.";

function isOwnMachine(): boolean {
  return location.hostname === "localhost" || location.hostname.startsWith("127.");
}

export const INSECURE =
  "This is plain HTTP: in this network others can read along. With HTTPS nobody can, and the page can be installed and opens offline.";

/** An empty text where there is none. A gateway whose server is away still knows its keys. */
async function problemWith(key: string): Promise<string> {
  try {
    await new Gateway(key).models();
    return "";
  } catch (error) {
    if (!(error instanceof Refusal)) return "The gateway cannot be reached. Is the network there?";
    if (error.status === 401) return "The gateway does not know this key.";
    return error.status === 429 ? error.message : "";
  }
}
