/** The Durable Objects of wrangler.toml, and what the Workers runtime has beside its published types. */
declare namespace Cloudflare {
  interface Env {
    CONVERSATION: DurableObjectNamespace<import("./index.ts").Conversation>;
  }
  interface GlobalProps {
    mainModule: typeof import("./index.ts");
    durableNamespaces: "Conversation";
  }
}

/** HTML's signature. The published one wants `null` where there is no timer. */
declare function clearTimeout(timeoutId: number | undefined): void;

/** What `nodejs_compat` gives us: only what src/ uses of it. All of Node's types would also bring what is not there. */
declare module "node:crypto" {
  export function createHash(algorithm: "sha256"): { update(text: string): { digest(): Uint8Array } };
  export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean;
}
