/** Elements from code: text goes in as text, so nothing that a model or a person writes can become markup. */

export type Child = Node | string | undefined | false;

type Properties<Element> = {
  [Name in keyof Element as Element[Name] extends string | number | boolean | null ? Name : never]?: Element[Name];
} & { class?: string; aria?: Record<string, string>; data?: Record<string, string>; on?: Listeners };

type Listeners = { [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void };

export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties<HTMLElementTagNameMap[Tag]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  const { class: className, aria, data, on, ...rest } = properties;
  if (className) element.className = className;
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
  for (const [name, listener] of Object.entries(on ?? {})) {
    element.addEventListener(name, (event) => Reflect.apply(listener, undefined, [event]));
  }
  Object.assign(element, rest);
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(
  tag: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: Node[]
): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** A button that shows an icon; its name is for a tooltip and for those who cannot see it. */
export function iconButton(icon: IconName, name: string, onClick: () => void, className = ""): HTMLButtonElement {
  const button = el("button", {
    type: "button",
    class: `icon-button ${className}`,
    title: name,
    aria: { label: name },
  });
  button.append(iconOf(icon));
  button.addEventListener("click", onClick);
  return button;
}

/** Strokes on a grid of 24. */
const ICONS = {
  menu: "M4 7h16M4 12h16M4 17h10",
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 13l4 4L19 7",
  again: "M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  image: "M4 6h16v12H4zM4 16l5-5 4 4 3-3 4 4M15 9.5h.01",
  close: "M6 6l12 12M18 6L6 18",
  bin: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12",
  device: "M8 4h8v16H8zM11 17h2",
  settings: "M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4",
  owner: "M5 19V10M12 19V5M19 19v-6",
  down: "M12 5v14M6 13l6 6 6-6",
  back: "M19 12H5M11 6l-6 6 6 6",
} as const;

export type IconName = keyof typeof ICONS;

export function iconOf(name: IconName): SVGElement {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}
