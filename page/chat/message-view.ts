/** One message on the page: a question in a bubble, or an answer that grows while it is written. */
import type { Delta } from "../chat-stream.ts";
import { copyText } from "../clipboard.ts";
import { el, iconButton, iconOf } from "../dom.ts";
import { type MarkdownWriter, markdownInto } from "../markdown.ts";
import type { Message } from "../store.ts";

export interface MessageActions {
  edit(message: Message): void;
  regenerate(message: Message): void;
  lookAgain(message: Message): void;
}

export interface MessageView {
  readonly message: Message;
  readonly element: HTMLElement;
}

export class QuestionView implements MessageView {
  readonly message: Message;
  readonly element: HTMLElement;

  constructor(message: Message, actions: MessageActions) {
    this.message = message;
    const pictures = (message.images ?? []).map((src) => el("img", { src, alt: "The picture you attached" }));
    const buttons = el(
      "div",
      { class: "message-actions" },
      copyButton(() => message.text),
      iconButton("edit", "Edit and ask again", () => actions.edit(message)),
    );
    this.element = el(
      "article",
      { class: "message question" },
      el("h2", { class: "off-screen" }, "You"),
      el("div", { class: "bubble" }, ...pictures, message.text),
      buttons,
    );
  }
}

export class AnswerView implements MessageView {
  readonly message: Message;
  readonly element: HTMLElement;
  readonly #prose = el("div", { class: "prose" });
  readonly #thinking = el("div", { class: "thinking-text" });
  readonly #thinkingTitle = el("summary", {}, "Thinking");
  readonly #thoughts = el("details", { class: "thinking", hidden: true }, this.#thinkingTitle, this.#thinking);
  readonly #status = el("div", { class: "status" });
  readonly #actions: MessageActions;
  readonly #buttons = el("div", { class: "message-actions" });
  #writer: MarkdownWriter;
  #trouble: string | undefined;
  #hasEnded = false;

  constructor(message: Message, actions: MessageActions) {
    this.message = message;
    this.#actions = actions;
    this.element = el(
      "article",
      { class: "message answer" },
      el("h2", { class: "off-screen" }, "Answer"),
      message.answer?.isElsewhere && el("p", { class: "note" }, iconOf("device"), "Asked on another device"),
      this.#thoughts,
      this.#prose,
      this.#status,
      this.#buttons,
    );
    this.#writer = markdownInto(this.#prose);
    this.#append({ text: message.text, thinking: message.thinking ?? "" });
    this.update(false);
  }

  append(delta: Delta): void {
    this.#append(delta);
    this.#nameThoughts(true);
    // Its first word takes the place of what was said about waiting for it.
    if (this.#status.dataset.kind === "waiting") this.update(false);
  }

  restart(): void {
    this.#prose.replaceChildren();
    this.#thinking.replaceChildren();
    this.#writer = markdownInto(this.#prose);
    this.#hasEnded = false;
    this.#append({ text: this.message.text, thinking: this.message.thinking ?? "" });
  }

  setTrouble(trouble: string | undefined): void {
    this.#trouble = trouble;
    this.update(false);
  }

  update(isStopping: boolean): void {
    const { answer, text, thinking = "" } = this.message;
    const state = answer?.state ?? "done";
    const isOpen = state === "asked" || state === "running";
    this.element.classList.toggle("live", isOpen);
    this.element.setAttribute("aria-busy", String(isOpen));
    this.#nameThoughts(isOpen);
    if (!isOpen && !this.#hasEnded) {
      this.#hasEnded = true;
      this.#writer.end();
    }
    this.#status.replaceChildren(...this.#statusOf(isOpen, isStopping));
    this.#status.dataset.kind = isOpen && text === "" && thinking === "" ? "waiting" : state;
    this.#buttons.replaceChildren(...(isOpen ? [] : this.#buttonsOf()));
  }

  #nameThoughts(isOpen: boolean): void {
    const name = isOpen && this.message.text === "" ? "Thinking …" : "Thoughts";
    if (this.#thinkingTitle.textContent !== name) this.#thinkingTitle.textContent = name;
  }

  #append({ text, thinking }: Delta): void {
    if (thinking !== "") {
      this.#thoughts.hidden = false;
      this.#thinking.append(thinking);
      // Many small text nodes are slow to lay out.
      this.#thinking.normalize();
    }
    if (text !== "") this.#writer.write(text);
  }

  #statusOf(isOpen: boolean, isStopping: boolean): (Node | string)[] {
    const { answer, text, thinking = "" } = this.message;
    if (isOpen && isStopping) return ["Stopping …"];
    const trouble = answer?.loss ? [el("p", { class: "loss" }, answer.loss)] : [];
    if (isOpen && this.#trouble !== undefined) return [...trouble, el("p", { class: "note" }, this.#trouble)];
    if (isOpen && text === "" && thinking === "") {
      return [
        ...trouble,
        el(
          "span",
          { class: "dots", role: "img", aria: { label: "Waiting for the first word" } },
          el("i"),
          el("i"),
          el("i"),
        ),
      ];
    }
    if (answer?.state === "stopped") return [el("p", { class: "note" }, "Stopped")];
    if (answer?.isCut) return [...trouble, el("p", { class: "note" }, "Cut off: the limit of tokens was reached")];
    return trouble;
  }

  #buttonsOf(): Node[] {
    const { message } = this;
    const buttons: Node[] = message.text === "" ? [] : [copyButton(() => message.text)];
    if (message.answer?.state === "failed" && message.answer.mayCome) {
      buttons.push(textButton("Look again", () => this.#actions.lookAgain(message)));
    }
    if (!message.answer?.isElsewhere) {
      buttons.push(iconButton("again", "Answer again", () => this.#actions.regenerate(message)));
    }
    return buttons;
  }
}

function textButton(text: string, onClick: () => void, className = ""): HTMLButtonElement {
  return el("button", { type: "button", class: `text-button ${className}`, on: { click: onClick } }, text);
}

function copyButton(text: () => string): HTMLButtonElement {
  const button = iconButton("copy", "Copy", async () => {
    button.replaceChildren(iconOf((await copyText(text())) ? "check" : "close"));
    setTimeout(() => button.replaceChildren(iconOf("copy")), 1_500);
  });
  return button;
}
