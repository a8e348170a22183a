/** Ports of this machine. */
import { once } from "node:events";
import { createServer } from "node:net";
import { LOOPBACK } from "./invitation.ts";

/**
 * Below the ports that Linux gives to outgoing connections: a port of those could be taken, between a crash and the
 * restart on the same port, by any client of anybody, even by one that is trying to reach this very port.
 */
const FREE_PORTS = { from: 20_000, to: 32_000 };

export class PortInUse extends Error {
  readonly port: number;

  constructor(port: number, { host = LOOPBACK, ...options }: ErrorOptions & { host?: string } = {}) {
    super(`Port ${port} on ${host} is in use`, options);
    this.port = port;
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FREE_PORTS.from + Math.floor(Math.random() * (FREE_PORTS.to - FREE_PORTS.from));
    try {
      await requireFreePort(port);
      return port;
    } catch (error) {
      // Another process has it; the next one is probably free.
      if (!(error instanceof PortInUse)) throw error;
    }
  }
}

/** Throws PortInUse, or the system's error where `host` is no address of this machine. */
export async function requireFreePort(port: number, host = LOOPBACK): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen(port, host), "listening");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE")
      throw new PortInUse(port, { host, cause });
    throw cause;
  } finally {
    server.close();
  }
}
