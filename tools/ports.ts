/** Ports of 127.0.0.1. */
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below the ports that Linux gives to outgoing connections: a port of those could be taken, between a crash and the
 * restart on the same port, by any client of anybody, even by one that is trying to reach this very port.
 */
const FREE_PORTS = { from: 20_000, to: 32_000 };

export class PortInUse extends Error {
  readonly port: number;

  constructor(port: number, options?: ErrorOptions) {
    super(`Port ${port} on 127.0.0.1 is in use`, options);
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

/** Throws PortInUse. */
export async function requireFreePort(port: number): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE") throw new PortInUse(port, { cause });
    throw cause;
  } finally {
    server.close();
  }
}
