/** The messages of the open conversation, and where the reader is in them: at the end, following it, or further up. */
import type { Delta } from "../chat-stream.ts";
import { el, iconButton } from "../dom.ts";
import type { Conversation, Message } from "../store.ts";
import { AnswerView, type MessageActions, type MessageView, QuestionView } from "./message-view.ts";

/** Within this of the end the reader follows it. */
const NEAR_END_PX = 60;
const SCROLL = "holdfast scroll ";

export class Transcript {
  readonly element: HTMLElement;
  readonly #list = el("div", { class: "messages" });
  readonly #scroller: HTMLElement;
  readonly #toEnd: HTMLButtonElement;
  readonly #actions: MessageActions;
  readonly #views = new Map<string, MessageView>();
  #conversationId: string | undefined;
  #follows = true;
  #lastTop = 0;

  constructor(actions: MessageActions, empty: HTMLElement) {
    this.#actions = actions;
    this.#scroller = el(
      "div",
      { class: "scroller", tabIndex: 0, role: "region", aria: { label: "Conversation" } },
      empty,
      this.#list,
    );
    this.#toEnd = iconButton("down", "To the newest", () => this.toEnd(), "to-end");
    this.#toEnd.hidden = true;
    this.element = el("div", { class: "transcript" }, this.#scroller, this.#toEnd);
    this.#scroller.addEventListener("scroll", () => this.#observeScroll(), { passive: true });
    new ResizeObserver(() => this.#keepUp()).observe(this.#list);
    new ResizeObserver(() => this.#keepUp()).observe(this.#scroller);
  }

  show(conversation: Conversation | undefined, note?: HTMLElement): void {
    this.#views.clear();
    this.#conversationId = conversation?.id;
    const messages = conversation?.messages ?? [];
    const views = messages.map((message) => this.#add(message));
    this.#list.replaceChildren(...(note ? [note] : []), ...views.map(({ element }) => element));
    this.element.classList.toggle("is-empty", messages.length === 0 && !note);
    const kept = Number(sessionStorage.getItem(SCROLL + this.#conversationId) ?? -1);
    this.#follows = kept < 0;
    this.#lastTop = 0;
    if (kept >= 0) this.#scroller.scrollTop = kept;
    else this.toEnd();
    this.#observeScroll();
  }

  append(message: Message, delta: Delta): void {
    this.#answer(message)?.append(delta);
  }

  restart(message: Message): void {
    this.#answer(message)?.restart();
  }

  update(message: Message, isStopping: boolean): void {
    this.#answer(message)?.update(isStopping);
  }

  setTrouble(message: Message, trouble: string | undefined): void {
    this.#answer(message)?.setTrouble(trouble);
  }

  toEnd(): void {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** A reload finds the reader where they were. */
  keepPlace(): void {
    if (!this.#conversationId) return;
    try {
      sessionStorage.setItem(SCROLL + this.#conversationId, this.#follows ? "-1" : String(this.#scroller.scrollTop));
    } catch {
      // The place is lost, nothing else.
    }
  }

  #add(message: Message): MessageView {
    const view =
      message.role === "user" ? new QuestionView(message, this.#actions) : new AnswerView(message, this.#actions);
    this.#views.set(message.id, view);
    return view;
  }

  #answer(message: Message): AnswerView | undefined {
    const view = this.#views.get(message.id);
    return view instanceof AnswerView ? view : undefined;
  }

  #observeScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // The text may have grown since the page scrolled itself: only a reader scrolls up.
    if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) this.#follows = true;
    else if (scrollTop < this.#lastTop) this.#follows = false;
    this.#lastTop = scrollTop;
    this.#toEnd.hidden = this.#follows;
  }

  #keepUp(): void {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else this.#observeScroll();
  }
}
