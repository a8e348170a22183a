/** "Continue on another device": the conversation's address as a link and as a code to scan. */
import { linkTo } from "../account.ts";
import { copyText } from "../clipboard.ts";
import { openDialog, tell } from "../dialog.ts";
import { el } from "../dom.ts";
import { qrCode } from "../qr-code.ts";

export function deviceDialog(conversation: string, key: string): void {
  const code = el("div", { class: "code-place" });
  const withKey = el("input", { type: "checkbox" });
  const link = () => linkTo({ conversation, key: withKey.checked ? key : undefined });
  const show = () => code.replaceChildren(qrCode(link(), "The code of the link to this conversation"));
  withKey.addEventListener("change", show);
  const copy = el("button", { type: "button", class: "button" }, "Copy the link");
  copy.addEventListener("click", async () => tell((await copyText(link())) ? "The link is copied" : link()));
  openDialog(
    "Continue on another device",
    el("p", {}, "Scan this. The running answer shows up there too, live; a stop on one is seen on the other."),
    code,
    el("label", { class: "check" }, withKey, "Sign that device in with my key"),
    el("div", { class: "buttons" }, copy),
    isOnlyHere() &&
      el(
        "p",
        { class: "note" },
        "This address is this machine's own. For a phone, start the gateway with --host 0.0.0.0 and open the address it prints.",
      ),
    el("p", { class: "note" }, "Earlier messages stay on this device; Settings → Export takes them along."),
  );
  show();
}

function isOnlyHere(): boolean {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}
