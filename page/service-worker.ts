/**
 * Opens the page without the network: its own files, as they were when this worker was made. The gateway's API is never
 * touched.
 */
declare const SHELL: readonly string[];
declare const VERSION: string;

const CACHE = `holdfast-${VERSION}`;
/** A network that hangs is as good as none. */
const PATIENCE_MS = 3_000;

const worker = globalThis as unknown as ServiceWorkerGlobalScope;

/** In Chromium, and not in the DOM's published types. */
interface RoutingEvent {
  addRoutes?(rules: { condition: { urlPattern: string }; source: "network" }): Promise<void>;
}

worker.addEventListener("install", (event: ExtendableEvent & RoutingEvent) => {
  // A question does not wait for this worker to start, only to hear that it is none of its business.
  const routed = event.addRoutes?.({ condition: { urlPattern: "/v1/*" }, source: "network" });
  if (routed) event.waitUntil(routed);
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)));
  void worker.skipWaiting();
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin || !SHELL.includes(pathname)) return;
  event.respondWith(pathname.startsWith("/page/") ? keptFirst(event.request) : networkFirst(event.request, pathname));
});

async function forgetOthers(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith("holdfast-") && name !== CACHE) await caches.delete(name);
  }
}

async function keptFirst(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? (await fetch(request));
}

async function networkFirst(request: Request, pathname: string): Promise<Response> {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const kept = await caches.match(pathname);
    if (kept) return kept;
    throw error;
  }
}
