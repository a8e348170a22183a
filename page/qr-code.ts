/** A QR code as a picture of one path. */
import { generate } from "lean-qr";
import { svg } from "./dom.ts";

/** The empty border that scanners want, in modules. */
const QUIET = 4;

export function qrCode(text: string, name: string): SVGElement {
  const code = generate(text);
  const side = code.size + 2 * QUIET;
  let path = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) {
      if (code.get(x, y)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
    }
  }
  return svg(
    "svg",
    { viewBox: `0 0 ${side} ${side}`, class: "qr-code", role: "img", "aria-label": name },
    svg("path", { d: path }),
  );
}
