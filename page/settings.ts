/** Settings: what is kept where, taking the history along, and signing out. */
import { askWhether, openDialog, tell } from "./dialog.ts";
import { el } from "./dom.ts";
import { INSECURE } from "./sign-in.ts";
import type { Store } from "./store.ts";
import { exportFile, importFile } from "./transfer.ts";

export interface SettingsActions {
  signOut(): void;
  imported(): void;
}

export function openSettings(store: Store, actions: SettingsActions): void {
  const file = el("input", {
    type: "file",
    accept: "application/json,.json",
    hidden: true,
    aria: { label: "File to import" },
  });
  const dialog = openDialog(
    "Settings",
    el("h3", {}, "Your conversations"),
    el(
      "p",
      {},
      "They are kept in this browser, and nowhere else. The gateway keeps an answer until it is collected, for an hour after its end unless its owner says otherwise; it is no archive. Clearing this site's data deletes them: export what you want to keep.",
    ),
    el(
      "div",
      { class: "buttons" },
      button("Export", () => void download(store)),
      button("Import", () => file.click()),
    ),
    file,
    el("h3", {}, "This device"),
    el("p", {}, isSecureContext ? INSTALL : INSECURE),
    el(
      "div",
      { class: "buttons" },
      button("Sign out", async () => {
        if (!(await askWhether("Sign out? The conversations stay in this browser.", "Sign out"))) return;
        dialog.close();
        actions.signOut();
      }),
    ),
  );
  file.addEventListener("change", async () => {
    const [chosen] = file.files ?? [];
    if (!chosen) return;
    try {
      const count = await importFile(store, await chosen.text());
      tell(count === 1 ? "One conversation came in" : `${count} conversations came in`);
      actions.imported();
    } catch (error) {
      tell(`Nothing was imported: ${error instanceof Error ? error.message : error}`);
    }
    file.value = "";
  });
}

const INSTALL = "Your browser's menu can put this page on the home screen; it then opens without the network too.";

async function download(store: Store): Promise<void> {
  const url = URL.createObjectURL(await exportFile(store));
  const day = new Date().toISOString().slice(0, 10);
  el("a", { href: url, download: `holdfast-${day}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function button(text: string, onClick: () => void): HTMLElement {
  return el("button", { type: "button", class: "button", on: { click: onClick } }, text);
}
