/** Where a question is written: text, pictures where the model takes them, and the button that sends or stops. */
import { el, iconButton, iconOf } from "../dom.ts";
import { scaledPicture } from "../picture.ts";

export interface ComposerActions {
  send(text: string, images: string[]): void;
  stop(): void;
  tell(message: string): void;
}

const MOST_PICTURES = 4;
const TEXT = "holdfast unsent";

export class Composer {
  readonly element: HTMLElement;
  readonly #actions: ComposerActions;
  readonly #text = el("textarea", {
    rows: 1,
    placeholder: "Ask anything",
    aria: { label: "Your question" },
    enterKeyHint: "send",
  });
  readonly #pictures = el("div", { class: "pictures" });
  readonly #file = el("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    hidden: true,
    tabIndex: -1,
    aria: { label: "Pictures" },
  });
  readonly #attach = iconButton("image", "Attach a picture", () => this.#file.click());
  readonly #stop = iconButton("stop", "Stop", () => this.#actions.stop(), "send-button is-stop");
  readonly #send = el("button", { type: "submit", class: "send-button", title: "Send", aria: { label: "Send" } });
  #images: string[] = [];
  #isRunning = false;
  #takesImages = false;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    const form = el(
      "form",
      { class: "composer", aria: { label: "Ask" } },
      this.#pictures,
      el("div", { class: "composer-row" }, this.#attach, this.#text, this.#stop, this.#send),
      this.#file,
    );
    this.element = form;
    this.#send.append(iconOf("send"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => this.#onKey(event));
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("paste", (event) => void this.#take(event.clipboardData?.files));
    this.#file.addEventListener("change", () => void this.#take(this.#file.files));
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.#take(event.dataTransfer?.files);
    });
    this.#text.value = sessionStorage.getItem(TEXT) ?? "";
    this.setTakesImages(false);
    this.#changed();
  }

  setRunning(isRunning: boolean): void {
    this.#isRunning = isRunning;
    this.#changed();
  }

  setTakesImages(takesImages: boolean): void {
    this.#takesImages = takesImages;
    this.#attach.hidden = !takesImages;
  }

  /** For editing: what was asked, to be asked in another way. */
  fill(text: string, images: readonly string[]): void {
    this.#text.value = text;
    this.#images = [...images];
    this.#showPictures();
    this.#changed();
    this.focus();
  }

  focus(): void {
    this.#text.focus();
  }

  #submit(): void {
    const text = this.#text.value.trim();
    if (text === "" && this.#images.length === 0) return;
    const images = this.#images;
    this.#text.value = "";
    this.#images = [];
    this.#showPictures();
    this.#changed();
    this.#actions.send(text, images);
  }

  /** Enter sends where there is a keyboard; on a phone it is a new line, as in every other text. */
  #onKey(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    this.#submit();
  }

  #changed(): void {
    const { style } = this.#text;
    style.height = "auto";
    style.height = `${this.#text.scrollHeight}px`;
    const isEmpty = this.#text.value.trim() === "" && this.#images.length === 0;
    this.#stop.hidden = !this.#isRunning;
    this.#send.hidden = this.#isRunning && isEmpty;
    this.#send.disabled = isEmpty;
    try {
      sessionStorage.setItem(TEXT, this.#text.value);
    } catch {
      // A reload loses what was not sent.
    }
  }

  async #take(files: FileList | null | undefined): Promise<void> {
    for (const file of Array.from(files ?? []).filter(({ type }) => type.startsWith("image/"))) {
      if (!this.#takesImages) return this.#actions.tell("This model takes no pictures");
      if (this.#images.length >= MOST_PICTURES) return this.#actions.tell(`At most ${MOST_PICTURES} pictures at once`);
      try {
        this.#images.push(await scaledPicture(file));
      } catch (error) {
        this.#actions.tell(error instanceof Error ? error.message : String(error));
      }
    }
    this.#file.value = "";
    this.#showPictures();
    this.#changed();
  }

  #showPictures(): void {
    this.#pictures.replaceChildren(
      ...this.#images.map((src, index) => {
        const remove = iconButton("close", "Remove this picture", () => {
          this.#images.splice(index, 1);
          this.#showPictures();
          this.#changed();
        });
        return el("div", { class: "picture-preview" }, el("img", { src, alt: `Picture ${index + 1}` }), remove);
      }),
    );
  }
}
