import { SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";

const PAGE = "https://holdfast.example";

describe("the page", () => {
  it("is there for a browser without a key, under a policy that lets nothing else in", async () => {
    const answer = await SELF.fetch(`${PAGE}/`);

    expect(answer.status).toBe(200);
    expect(answer.headers.get("Content-Type")).toBe("text/html; charset=utf-8");
    expect(answer.headers.get("Cache-Control")).toBe("no-cache");
    const policy = answer.headers.get("Content-Security-Policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.has("Access-Control-Allow-Origin")).toBe(false);
    expect(await answer.text()).toContain("<title>Holdfast</title>");
  });

  it("names scripts and styles that never change under their name", async () => {
    const html = await (await SELF.fetch(`${PAGE}/`)).text();
    const paths = html.match(/\/page\/(?:app|style)-[A-Z0-9]+\.(?:js|css)/g) ?? [];

    expect(paths).toHaveLength(2);
    for (const path of paths) {
      const answer = await SELF.fetch(PAGE + path);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("Cache-Control")).toContain("immutable");
    }
  });

  it("is not sent again to a browser that has it, weak ETag or strong", async () => {
    const etag = (await SELF.fetch(`${PAGE}/`)).headers.get("ETag") ?? "";

    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const answer = await SELF.fetch(`${PAGE}/`, { headers: { "If-None-Match": known } });
      expect(answer.status).toBe(304);
      expect(await answer.text()).toBe("");
    }
  });

  it("answers HEAD with the same headers and no body", async () => {
    const answer = await SELF.fetch(`${PAGE}/sw.js`, { method: "HEAD" });

    expect(answer.status).toBe(200);
    expect(answer.headers.get("Content-Type")).toBe("text/javascript; charset=utf-8");
    expect(await answer.text()).toBe("");
  });

  it("leaves the API as it was: without a key 401, also for what looks like a file of it", async () => {
    for (const path of ["/v1/models", "/page/", "/page/other.js", "/__proto__", "/constructor"]) {
      expect((await SELF.fetch(PAGE + path)).status, path).toBe(401);
    }
  });
});
