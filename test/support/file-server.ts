/** A few files over HTTP, for a browser: what any static host does. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

export interface FileServer {
  url: string;
  close(): Promise<void>;
}

/** Serves exactly these paths below `root`. */
export async function serveFiles(root: string, paths: readonly string[]): Promise<FileServer> {
  const server = createServer(async ({ url = "" }, response) => {
    const path = paths.find((served) => url === `/${served}`);
    if (path === undefined) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "text/plain" });
    return response.end(await readFile(join(root, path)));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
