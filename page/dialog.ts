/** Dialogs of the browser's own kind: focus stays in them, Escape closes them. */
import { type Child, el, iconButton } from "./dom.ts";

/** Opens it; it is gone when it was closed. */
export function openDialog(title: string, ...content: Child[]): HTMLDialogElement {
  const dialog = el("dialog", { aria: { label: title } });
  const close = iconButton("close", "Close", () => dialog.close(), "close");
  dialog.append(
    el("header", {}, el("h2", {}, title), close),
    el("div", { class: "dialog-body" }, ...childrenOf(content)),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    // Its own area is covered by its content: what is hit is the backdrop.
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function askWhether(question: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const confirm = el("button", { type: "button", class: "button danger" }, yes);
    const dialog = openDialog(question, el("div", { class: "buttons" }, confirm));
    confirm.addEventListener("click", () => {
      resolve(true);
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(false));
  });
}

/** A sentence at the bottom that goes away by itself, and that a screen reader says. */
export function tell(message: string): void {
  const toast = el("div", { class: "toast", role: "status" }, message);
  document.querySelector(".toast")?.remove();
  document.body.append(toast);
  setTimeout(() => toast.remove(), 6_000);
}

function childrenOf(content: readonly Child[]): Child[] {
  return content.filter((child) => child !== undefined && child !== false);
}
