/** The Durable Objects of wrangler.toml, and what the Workers runtime has beside its published types. */
declare namespace Cloudflare {
  interface Env {
    CONVERSATION: DurableObjectNamespace<import("./index.ts").Conversation>;
    TENANT: DurableObjectNamespace<import("./index.ts").Tenant>;
    DIRECTORY: DurableObjectNamespace<import("./index.ts").Directory>;
    /** Not on plain workerd. */
    FAILED_KEYS?: RateLimit;
    /** Where the owner wants it. */
    USAGE?: AnalyticsEngineDataset;
  }
  interface GlobalProps {
    mainModule: typeof import("./index.ts");
    durableNamespaces: "Conversation" | "Tenant" | "Directory";
  }
}

/** HTML's signature. The published one wants `null` where there is no timer. */
declare function clearTimeout(timeoutId: number | undefined): void;

/** What `nodejs_compat` gives us: only what src/ uses of it. All of Node's types would also bring what is not there. */
declare module "node:crypto" {
  interface Hash {
    update(text: string): { digest(): Uint8Array; digest(encoding: "hex"): string };
  }
  export function createHash(algorithm: "sha256"): Hash;
  export function createHmac(algorithm: "sha256", key: string): Hash;
  export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean;
}
