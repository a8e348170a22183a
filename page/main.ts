/**
 * The page: signs in, then shows the chat or the owner's view.
 *
 *   link's fragment ─┐
 *   kept key ────────┴─▶ chat ⇄ owner's view
 *                    └─▶ sign-in, where there is no key
 */
import { forgetKey, keepKey, keptKey, readFragment, showInFragment } from "./account.ts";
import { ChatPage } from "./chat/chat-page.ts";
import { askWhether } from "./dialog.ts";
import { el } from "./dom.ts";
import { Gateway } from "./gateway.ts";
import { ownerPage } from "./owner/owner-page.ts";
import { openSettings } from "./settings.ts";
import { signInPage } from "./sign-in.ts";
import { Store } from "./store.ts";

let chatPage: ChatPage | undefined;

await main();

async function main(): Promise<void> {
  followKeyboard();
  followNetwork();
  registerServiceWorker();
  const { conversation, page } = readFragment();
  const key = await signedIn();
  addEventListener("hashchange", () => location.reload());
  if (key === undefined) return showSignIn(conversation);
  await showChat(key, conversation);
  if (page === "owner") showOwner(key);
}

/** The key of the link, unless its reader has one and wants to keep it: a link must not sign people in as someone else. */
async function signedIn(): Promise<string | undefined> {
  const { key, conversation, page } = readFragment();
  const kept = keptKey();
  if (key === undefined) return kept;
  showInFragment({ conversation, page });
  if (kept !== undefined && kept !== key) {
    if (!(await askWhether("This link signs you in with another key. Use it instead of yours?", "Use it"))) return kept;
  }
  keepKey(key);
  return key;
}

function showSignIn(conversation: string | undefined): void {
  show(
    signInPage((key) => {
      keepKey(key);
      void showChat(key, conversation);
    }),
  );
}

async function showChat(key: string, openId: string | undefined): Promise<void> {
  const gateway = new Gateway(key);
  // Asked before the storage is open: the two do not need each other.
  const models = gateway.models();
  models.catch(() => {});
  const store = await Store.open();
  const page = new ChatPage({
    gateway,
    store,
    models,
    openId,
    onOwner: () => showOwner(key),
    onSettings: () =>
      openSettings(store, {
        imported: () => void page.chat.reload(),
        signOut: () => {
          forgetKey();
          forgetKey("admin");
          location.reload();
        },
      }),
  });
  chatPage = page;
  show(page.element);
}

/** Over the chat, whose answer goes on beneath. */
function showOwner(key: string): void {
  const back = () => {
    showInFragment({ conversation: chatPage?.chat.openConversation?.id });
    if (chatPage) show(chatPage.element);
  };
  document.body.classList.remove("menu-open");
  showInFragment({ page: "owner" });
  show(ownerPage(key, back));
}

function show(element: HTMLElement): void {
  for (const child of Array.from(document.body.children)) if (child.matches("main, .layout, noscript")) child.remove();
  document.body.prepend(element);
}

/** Browsers that lay the keyboard over the page tell only the visual viewport of it. */
function followKeyboard(): void {
  const { visualViewport } = window;
  const fit = () => {
    if (!visualViewport) return;
    document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
    // Safari scrolls the page up under the keyboard, and forgets to scroll it back.
    if (document.scrollingElement) document.scrollingElement.scrollTop = 0;
  };
  visualViewport?.addEventListener("resize", fit);
}

function followNetwork(): void {
  const banner = el("p", { class: "offline", role: "status" });
  const tellIt = () => {
    banner.textContent = navigator.onLine
      ? ""
      : "You are offline. A running answer goes on at the gateway, and is here when you are back.";
  };
  document.body.append(banner);
  addEventListener("online", tellIt);
  addEventListener("offline", tellIt);
  tellIt();
}

/** Only where the browser has them: over HTTPS, or on the machine itself. */
function registerServiceWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  // The only address of a script that this page can name, as its content security policy says.
  const policy = window.trustedTypes?.createPolicy("service-worker", { createScriptURL: () => "/sw.js" });
  const address = policy ? policy.createScriptURL("") : "/sw.js";
  navigator.serviceWorker.register(address).catch(() => {
    // Private windows refuse it: the page works, but not without the network.
  });
}
