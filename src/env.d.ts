/** The settings and secrets of wrangler.toml. Only strings: tests in plain Node, without the Workers types, see them too. */
declare namespace Cloudflare {
  interface Env {
    ORIGINS?: string;
    ORIGIN_URL: string;
    ORIGIN_API_KEY?: string;
    API_KEYS?: string;
    SESSION_TTL_SECONDS: string;
    RETAINED_BYTES: string;
    MAX_REQUEST_BYTES: string;
    MAX_TENANT_REQUEST_BYTES: string;
    RECONNECT_SECONDS: string;
    ORIGIN_IDLE_SECONDS: string;
    MAX_GENERATION_SECONDS: string;
    EXTRA_ROUTES: string;
    CORS_ORIGINS: string;
    TENANT_STORED_BYTES: string;
    ADMIN_KEY?: string;
    KEY_SECRET?: string;
    UI: string;
  }
}
interface Env extends Cloudflare.Env {}
