/** The keys that this device signs in with: kept in the browser, sent to the gateway that served the page and to nobody else. */

const KEY = "holdfast key";
const ADMIN_KEY = "holdfast admin key";

export type KeyKind = "user" | "admin";

export function keptKey(kind: KeyKind = "user"): string | undefined {
  try {
    return localStorage.getItem(nameOf(kind)) ?? undefined;
  } catch {
    // A browser that keeps nothing asks for the key each time.
    return undefined;
  }
}

export function keepKey(key: string, kind: KeyKind = "user"): void {
  try {
    localStorage.setItem(nameOf(kind), key);
  } catch {
    // As above.
  }
}

export function forgetKey(kind: KeyKind = "user"): void {
  try {
    localStorage.removeItem(nameOf(kind));
  } catch {
    // It was not kept.
  }
}

/** What a link says behind its `#`, which browsers send to no server: `#key=…&c=…`. */
export interface Fragment {
  key: string | undefined;
  conversation: string | undefined;
  page: "chat" | "owner";
}

export function readFragment(): Fragment {
  const fields = new URLSearchParams(location.hash.slice(1));
  return {
    key: fields.get("key") || undefined,
    conversation: conversationIn(fields),
    page: fields.has("owner") ? "owner" : "chat",
  };
}

/** The key leaves the address bar and the history as soon as it was read. */
export function showInFragment(what: { conversation?: string | undefined; page?: "chat" | "owner" }): void {
  const hash = what.page === "owner" ? "#owner" : what.conversation ? `#c=${what.conversation}` : "";
  history.replaceState(null, "", location.pathname + location.search + hash);
}

export function linkTo({ conversation, key }: { conversation?: string; key?: string | undefined }): string {
  const fields = new URLSearchParams();
  if (key) fields.set("key", key);
  if (conversation) fields.set("c", conversation);
  return `${location.origin}/#${fields}`;
}

function conversationIn(fields: URLSearchParams): string | undefined {
  const id = fields.get("c") ?? "";
  return isConversationId(id) ? id : undefined;
}

/** As the page makes them, and other clients: anything else, in a link or a file, would end up in headers. */
export function isConversationId(id: unknown): id is string {
  return typeof id === "string" && /^[\w.:-]{1,128}$/.test(id);
}

function nameOf(kind: KeyKind): string {
  return kind === "admin" ? ADMIN_KEY : KEY;
}
