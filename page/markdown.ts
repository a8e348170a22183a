/**
 * Markdown into elements while it is being written. streaming-markdown only ever appends; this is its renderer, which
 * decides what may be in a page: links to the web, no picture of another host, code with a button that copies it.
 */
import * as smd from "streaming-markdown";
import { copyText } from "./clipboard.ts";
import { el } from "./dom.ts";

const LINK_SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** The page's own headings end at the second level. */
const FIRST_HEADING_LEVEL = 3;

export interface MarkdownWriter {
  write(text: string): void;
  /** Nothing more comes: what could have gone on is taken as it is. */
  end(): void;
}

export function markdownInto(root: HTMLElement): MarkdownWriter {
  const parser = smd.parser(new Renderer(root));
  return {
    write: (text) => smd.parser_write(parser, text),
    end: () => smd.parser_end(parser),
  };
}

type Tag = keyof HTMLElementTagNameMap;

const TAGS = new Map<smd.Token, Tag>([
  [smd.Token.Blockquote, "blockquote"],
  [smd.Token.Paragraph, "p"],
  [smd.Token.Line_Break, "br"],
  [smd.Token.Rule, "hr"],
  [smd.Token.Italic_Ast, "em"],
  [smd.Token.Italic_Und, "em"],
  [smd.Token.Strong_Ast, "strong"],
  [smd.Token.Strong_Und, "strong"],
  [smd.Token.Strike, "s"],
  [smd.Token.Code_Inline, "code"],
  [smd.Token.List_Unordered, "ul"],
  [smd.Token.List_Ordered, "ol"],
  [smd.Token.List_Item, "li"],
  [smd.Token.Table_Cell, "td"],
  [smd.Token.Equation_Block, "code"],
  [smd.Token.Equation_Inline, "code"],
]);

class Renderer implements smd.Renderer<undefined> {
  readonly data = undefined;
  readonly #open: HTMLElement[];
  #level = FIRST_HEADING_LEVEL - 1;
  #language: HTMLElement | undefined;

  constructor(root: HTMLElement) {
    this.#open = [root];
  }

  readonly add_token = (_: undefined, type: smd.Token): void => {
    if (type === smd.Token.Document) return;
    this.#open.push(this.#element(type));
  };

  readonly end_token = (): void => {
    if (this.#open.length > 1) this.#open.pop();
  };

  readonly add_text = (_: undefined, text: string): void => {
    this.#top.append(text);
  };

  readonly set_attr = (_: undefined, type: smd.Attr, value: string): void => {
    const element = this.#top;
    if (type === smd.Attr.Href || type === smd.Attr.Src) setLink(element, value);
    else if (type === smd.Attr.Start && element instanceof HTMLOListElement) element.start = Number(value) || 1;
    else if (type === smd.Attr.Checked && element instanceof HTMLInputElement) element.checked = true;
    else if (type === smd.Attr.Lang && this.#language) this.#language.textContent = value;
  };

  get #top(): HTMLElement {
    const top = this.#open.at(-1);
    if (!top) throw new Error("The renderer has lost its root");
    return top;
  }

  #element(type: smd.Token): HTMLElement {
    const parent = this.#top;
    switch (type) {
      case smd.Token.Link:
      case smd.Token.Raw_URL:
      case smd.Token.Image:
        // A link in a link has no meaning: the outer one counts.
        return parent.appendChild(parent.closest(".prose a") ? el("span") : el("a", { class: linkClass(type) }));
      case smd.Token.Code_Block:
      case smd.Token.Code_Fence:
        return this.#codeBlock(parent);
      case smd.Token.Checkbox:
        return parent.appendChild(el("input", { type: "checkbox", disabled: true, aria: { label: "Task" } }));
      case smd.Token.Table:
        return tableIn(parent);
      case smd.Token.Table_Row:
        return rowIn(parent);
      case smd.Token.Table_Cell:
        return parent.appendChild(el(parent.parentElement?.tagName === "THEAD" ? "th" : "td"));
    }
    const heading = smd.heading_to_level(type);
    if (heading > 0) return parent.appendChild(this.#heading(heading));
    return parent.appendChild(el(TAGS.get(type) ?? "span"));
  }

  /** No level is left out, whatever the model begins with: screen readers walk by them. */
  #heading(wanted: number): HTMLElement {
    this.#level = Math.min(wanted + FIRST_HEADING_LEVEL - 1, this.#level + 1, 6);
    return document.createElement(`h${this.#level}`);
  }

  #codeBlock(parent: HTMLElement): HTMLElement {
    const code = el("code");
    this.#language = el("span");
    const copy = el("button", { type: "button", class: "copy-code" }, "Copy");
    copy.addEventListener("click", async () => {
      copy.textContent = (await copyText(code.textContent)) ? "Copied" : "Select and copy by hand";
      setTimeout(() => {
        copy.textContent = "Copy";
      }, 2_000);
    });
    const head = el("div", { class: "code-head" }, this.#language, copy);
    parent.append(el("div", { class: "code" }, head, el("pre", { tabIndex: 0 }, code)));
    return code;
  }
}

function linkClass(type: smd.Token): string {
  return type === smd.Token.Image ? "picture" : "";
}

/** A picture of another host is a link: showing it would tell that host who reads. */
function setLink(element: HTMLElement, value: string): void {
  if (!(element instanceof HTMLAnchorElement) || !URL.canParse(value)) return;
  if (!LINK_SCHEMES.has(new URL(value).protocol)) return;
  element.href = value;
  element.target = "_blank";
  element.rel = "noopener noreferrer";
  if (element.classList.contains("picture") && element.textContent === "") element.textContent = "picture";
}

function tableIn(parent: HTMLElement): HTMLElement {
  const table = el("table");
  parent.append(el("div", { class: "table", tabIndex: 0 }, table));
  return table;
}

function rowIn(table: HTMLElement): HTMLElement {
  const row = el("tr");
  if (table.children.length === 0) table.append(el("thead"));
  else if (table.children.length === 1) table.append(el("tbody"));
  table.lastElementChild?.append(row);
  return row;
}
