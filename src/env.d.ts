declare namespace Cloudflare {
  interface Env {
    ORIGIN_URL: string;
    ORIGIN_API_KEY?: string;
    API_KEYS?: string;
    SESSION_TTL_SECONDS: string;
    RETAINED_BYTES: string;
    MAX_REQUEST_BYTES: string;
    RECONNECT_SECONDS: string;
    ORIGIN_IDLE_SECONDS: string;
    MAX_GENERATION_SECONDS: string;
    EXTRA_ROUTES: string;
    CORS_ORIGINS: string;
    CONVERSATION: DurableObjectNamespace<import("./index.ts").Conversation>;
  }
  interface GlobalProps {
    mainModule: typeof import("./index.ts");
    durableNamespaces: "Conversation";
  }
}
interface Env extends Cloudflare.Env {}
