import { generate } from "lean-qr";
import { expect, it } from "vitest";
import { terminalQrCode } from "../../tools/invitation.ts";

it("a code in the terminal has the modules of the code, two a character, in a white frame", () => {
  const text = "http://192.168.1.2:8787/#key=sk-holdfast-0123";
  const code = generate(text);
  const lines = terminalQrCode(text)
    .split("\n")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what terminals are told is begun by one
    .map((line) => line.replace(/\u001b\[[0-9;]*m/g, "").slice(2));
  const at = (x: number, y: number) => {
    const character = lines[Math.floor((y + 2) / 2)]?.[x + 2];
    return character === "█" || character === (y % 2 === 0 ? "▀" : "▄");
  };

  for (let y = -2; y < code.size + 2; y++) {
    for (let x = -2; x < code.size + 2; x++) expect(at(x, y), `${x} ${y}`).toBe(code.get(x, y));
  }
});
