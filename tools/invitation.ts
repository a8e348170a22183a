/** How another device comes to the gateway of this machine: its addresses in the network, and a code for a camera. */
import { networkInterfaces } from "node:os";
import { generate } from "lean-qr";

export const LOOPBACK = "127.0.0.1";
export const ALL_ADDRESSES = "0.0.0.0";

/** IPv4 addresses of this machine in its networks, those of home networks first. */
export function lanAddresses(): string[] {
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const addresses = own.filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address);
  const isHome = (address: string) => address.startsWith("192.168.");
  return addresses.toSorted((a, b) => Number(isHome(b)) - Number(isHome(a)));
}

/** Where a browser on this machine finds a gateway that listens on `host`. */
export function reachedAt(host: string): string {
  return host === ALL_ADDRESSES ? LOOPBACK : host;
}

/** The border that scanners want, in modules. */
const QUIET = 2;
const BLACK_ON_WHITE = "\u001b[30;107m";
const RESET = "\u001b[0m";

/** Two modules a character, black on white whatever the terminal's colours are. */
export function terminalQrCode(text: string): string {
  const code = generate(text);
  const lines: string[] = [];
  for (let y = -QUIET; y < code.size + QUIET; y += 2) {
    let line = "";
    for (let x = -QUIET; x < code.size + QUIET; x++) line += halves(code.get(x, y), code.get(x, y + 1));
    lines.push(`  ${BLACK_ON_WHITE}${line}${RESET}`);
  }
  return lines.join("\n");
}

function halves(upper: boolean, lower: boolean): string {
  if (upper && lower) return "█";
  if (upper) return "▀";
  return lower ? "▄" : " ";
}
