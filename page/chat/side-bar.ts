/** The conversations of this browser, the newest first, each with a mark of how its answer is doing. */
import { el, iconButton, iconOf } from "../dom.ts";
import type { Conversation } from "../store.ts";

export interface SideBarActions {
  open(id: string | undefined): void;
  remove(conversation: Conversation): void;
  settings(): void;
  owner(): void;
}

export type Mark = "running" | "unread" | "failed" | undefined;

const MARK_NAMES = { running: "is being answered", unread: "has a new answer", failed: "is not whole" };

export class SideBar {
  readonly element: HTMLElement;
  readonly #actions: SideBarActions;
  readonly #list = el("ul", { class: "conversations" });
  readonly #rows = new Map<string, HTMLElement>();

  constructor(actions: SideBarActions) {
    this.#actions = actions;
    const fresh = el(
      "button",
      { type: "button", class: "new-chat", on: { click: () => actions.open(undefined) } },
      iconOf("plus"),
      "New conversation",
    );
    const foot = el(
      "div",
      { class: "side-foot" },
      footButton("owner", "Usage", actions.owner),
      footButton("settings", "Settings", actions.settings),
    );
    this.element = el(
      "nav",
      { class: "side-bar", id: "side-bar", aria: { label: "Conversations" } },
      el("div", { class: "brand" }, el("img", { src: "/page/icon.svg", alt: "", width: 28, height: 28 }), "Holdfast"),
      fresh,
      this.#list,
      foot,
    );
  }

  show(conversations: readonly Conversation[], openId: string | undefined, markOf: (id: string) => Mark): void {
    this.#rows.clear();
    this.#list.replaceChildren(
      ...conversations.map((conversation) => this.#row(conversation, conversation.id === openId)),
    );
    for (const { id } of conversations) this.setMark(id, markOf(id));
  }

  setMark(id: string, mark: Mark): void {
    const element = this.#rows.get(id);
    if (!element) return;
    element.className = `mark ${mark ?? ""}`;
    element.textContent = mark ? MARK_NAMES[mark] : "";
    element.title = mark ? `It ${MARK_NAMES[mark]}` : "";
  }

  #row(conversation: Conversation, isOpen: boolean): HTMLElement {
    const { id, title } = conversation;
    const mark = el("span", { class: "mark" });
    this.#rows.set(id, mark);
    const open = el(
      "button",
      { type: "button", class: "conversation", on: { click: () => this.#actions.open(id) } },
      mark,
      el("span", { class: "title" }, title),
    );
    if (isOpen) open.setAttribute("aria-current", "page");
    const remove = iconButton("bin", `Delete “${title}”`, () => this.#actions.remove(conversation), "remove");
    return el("li", {}, open, remove);
  }
}

function footButton(icon: "owner" | "settings", name: string, onClick: () => void): HTMLElement {
  return el("button", { type: "button", class: "foot-button", on: { click: onClick } }, iconOf(icon), name);
}
