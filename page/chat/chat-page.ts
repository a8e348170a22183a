/** The chat as a page: side bar, head, transcript and composer, and the chat that moves them. */
import type { RunListener } from "../answer-run.ts";
import { tell } from "../dialog.ts";
import { el, iconButton, iconOf } from "../dom.ts";
import type { Gateway, Model } from "../gateway.ts";
import type { Conversation, Message, Store } from "../store.ts";
import { Chat, type ChatScreen } from "./chat.ts";
import { Composer } from "./composer.ts";
import { deviceDialog } from "./device-dialog.ts";
import { modelChoice } from "./model-choice.ts";
import { type Mark, SideBar } from "./side-bar.ts";
import { Transcript } from "./transcript.ts";

export interface ChatPageOptions {
  gateway: Gateway;
  store: Store;
  models: Promise<Model[]>;
  openId: string | undefined;
  onSettings: () => void;
  onOwner: () => void;
}

export class ChatPage implements ChatScreen {
  readonly element: HTMLElement;
  readonly chat: Chat;
  readonly #gateway: Gateway;
  readonly #transcript: Transcript;
  readonly #composer: Composer;
  readonly #sideBar: SideBar;
  readonly #title = el("h1", { class: "conversation-title" });
  readonly #live = el("div", { class: "off-screen", role: "status" });
  readonly #menu = iconButton("menu", "Conversations", () => this.#toggleMenu(), "menu");

  constructor({ gateway, store, models, openId, onSettings, onOwner }: ChatPageOptions) {
    this.#gateway = gateway;
    this.chat = new Chat(gateway, store, this);
    this.#transcript = new Transcript(
      {
        edit: (message) => this.chat.edit(message),
        regenerate: (message) => void this.chat.regenerate(message),
        lookAgain: (message) => this.chat.lookAgain(message),
      },
      emptyState(),
    );
    this.#composer = new Composer({
      send: (text, images) => void this.#send(text, images),
      stop: () => void this.chat.stop(),
      tell,
    });
    this.#sideBar = new SideBar({
      open: (id) => void this.#open(id),
      remove: (conversation) => void this.chat.remove(conversation),
      settings: onSettings,
      owner: onOwner,
    });
    this.element = this.#layout(models);
    addEventListener("pagehide", () => this.#transcript.keepPlace());
    void this.chat.start(openId);
  }

  showConversation(conversation: Conversation | undefined): void {
    const note = conversation?.isLinked ? linkedNote(conversation.messages.length > 0) : undefined;
    this.#transcript.show(conversation, note);
    this.#title.textContent = conversation?.title ?? "New conversation";
    document.title = conversation ? `${conversation.title} · Holdfast` : "Holdfast";
  }

  showList(conversations: readonly Conversation[], openId: string | undefined, markOf: (id: string) => Mark): void {
    this.#sideBar.show(conversations, openId, markOf);
  }

  setMark(id: string, mark: Mark): void {
    this.#sideBar.setMark(id, mark);
  }

  setRunning(isRunning: boolean): void {
    this.#composer.setRunning(isRunning);
  }

  listenerFor(message: Message): RunListener {
    return {
      onDelta: (delta) => this.#transcript.append(message, delta),
      onRestart: () => this.#transcript.restart(message),
      onTrouble: (trouble) => this.#transcript.setTrouble(message, trouble),
      onChange: () => this.#transcript.update(message, this.chat.isStopping),
    };
  }

  fill(text: string, images: readonly string[]): void {
    this.#composer.fill(text, images);
  }

  announce(text: string): void {
    this.#live.textContent = text;
  }

  #layout(models: Promise<Model[]>): HTMLElement {
    const choice = modelChoice(models, (model) => void this.#useModel(model));
    const device = iconButton("device", "Continue on another device", () => {
      const { openConversation } = this.chat;
      if (openConversation) deviceDialog(openConversation.id, this.#gateway.key);
      else tell("Ask something first: then it can go on elsewhere");
    });
    const head = el(
      "header",
      { class: "head" },
      this.#menu,
      el("div", { class: "head-text" }, this.#title, choice),
      device,
    );
    const main = el("main", { class: "main" }, head, this.#transcript.element, this.#composer.element, this.#live);
    const shade = el("div", { class: "shade", on: { click: () => this.#toggleMenu(false) } });
    const layout = el("div", { class: "layout" }, this.#sideBar.element, shade, main);
    this.#menu.setAttribute("aria-controls", "side-bar");
    this.#menu.setAttribute("aria-expanded", "false");
    layout.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#toggleMenu(false);
    });
    return layout;
  }

  async #send(text: string, images: string[]): Promise<void> {
    this.#transcript.toEnd();
    await this.chat.ask(text, images);
    this.#transcript.toEnd();
  }

  async #open(id: string | undefined): Promise<void> {
    this.#toggleMenu(false);
    await this.chat.open(id);
    // On a phone it would bring up the keyboard, which hides half of what was opened.
    if (!matchMedia("(pointer: coarse)").matches) this.#composer.focus();
  }

  async #useModel(model: string | undefined): Promise<void> {
    this.chat.model = model;
    this.#composer.setTakesImages(await this.#gateway.takesImages(model));
  }

  #toggleMenu(open = !document.body.classList.contains("menu-open")): void {
    document.body.classList.toggle("menu-open", open);
    this.#menu.setAttribute("aria-expanded", String(open));
    if (open) this.#sideBar.element.querySelector("button")?.focus();
  }
}

function emptyState(): HTMLElement {
  return el(
    "div",
    { class: "empty" },
    el("img", { src: "/page/icon.svg", alt: "", width: 56, height: 56 }),
    el("p", { class: "empty-title" }, "What would you like to know?"),
    el(
      "p",
      {},
      "Ask, then lock the phone, lose the network or reload. The answer goes on without you, and is here when you are back.",
    ),
  );
}

function linkedNote(hasMessages: boolean): HTMLElement {
  const more = hasMessages ? "" : " When something is asked there, its answer shows up here.";
  return el(
    "p",
    { class: "linked-note" },
    iconOf("device"),
    `The earlier messages are on the device this link came from.${more} To have them here too, export there and import here (Settings).`,
  );
}
