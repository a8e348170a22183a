import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type WorkerdOptions, workerdConfig } from "../../tools/workerd-config.ts";

const BASE = `
main = "src/index.ts"
compatibility_date = "2026-10-23"
compatibility_flags = ["enable_request_signal"]
`;

let bundle: string;

beforeAll(() => {
  bundle = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
  for (const file of ["index.js", "index.js.map", "README.md", "abc-page.html"]) writeFileSync(join(bundle, file), "");
  mkdirSync(join(bundle, ".build-other"));
});
afterAll(() => rmSync(bundle, { recursive: true, force: true }));

function config(more: string, options: Partial<WorkerdOptions> = {}): string {
  const rest = { state: "/state", port: 8787, vars: {}, secrets: [], services: {} };
  return workerdConfig({ wrangler: BASE + more, bundle, ...rest, ...options });
}

describe("workerd's configuration", () => {
  it("has every Durable Object of wrangler.toml, with SQLite where a migration says so", () => {
    const text = config(`
[[durable_objects.bindings]]
name = "CONVERSATION"
class_name = "Conversation"
[[durable_objects.bindings]]
name = "TENANT"
class_name = "Tenant"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Conversation"]
[[migrations]]
tag = "v2"
new_sqlite_classes = ["Tenant"]
`);
    for (const [binding, name] of [
      ["CONVERSATION", "Conversation"],
      ["TENANT", "Tenant"],
    ]) {
      expect(text).toContain(`(name = "${binding}", durableObjectNamespace = "${name}")`);
      expect(text).toContain(`(className = "${name}", uniqueKey = "holdfast-${name}", enableSql = true)`);
    }
  });

  it("takes given variables before those of wrangler.toml, and secrets from the environment", () => {
    const text = config('[vars]\nORIGIN_URL = "http://a"\nLIMITS = { perMinute = 5 }', {
      vars: { ORIGIN_URL: 'http://b/"\n' },
      secrets: ["ADMIN_KEY"],
    });
    expect(text).toContain('(name = "ORIGIN_URL", text = "http://b/\\"\\x0a")');
    expect(text).toContain('(name = "LIMITS", json = "{\\"perMinute\\":5}")');
    expect(text).toContain('(name = "ADMIN_KEY", fromEnvironment = "ADMIN_KEY")');
  });

  it("puts the given server in the place of each service binding", () => {
    const bindings = '[[services]]\nbinding = "A"\nservice = "x"\n[[vpc_services]]\nbinding = "B"\nservice_id = "y"\n';
    const text = config(bindings, { services: { A: "http://127.0.0.1:9000", B: "https://gpu.example" } });
    expect(text).toContain('(name = "A", service = "service-A")');
    expect(text).toContain('(name = "service-A", external = (address = "127.0.0.1:9000", http = ()))');
    expect(text).toContain('(name = "service-B", external = (address = "gpu.example:443", https = (');
    expect(() => config(bindings, { services: { A: "http://127.0.0.1:9000" } })).toThrow(/"B".* got undefined/);
    expect(() => config(bindings, { services: { A: "http://h/path", B: "http://h" } })).toThrow(/without a path/);
  });

  it("embeds the main module first, what it imports, and nothing else of the bundle", () => {
    const text = config("");
    const modules = [...text.matchAll(/\(name = "([^"]+)", (\w+) = embed/g)].map(([, name, kind]) => [name, kind]);
    expect(modules).toEqual([
      ["index.js", "esModule"],
      ["abc-page.html", "text"],
    ]);
    const rule = '[[rules]]\ntype = "Data"\nglobs = ["**/*.html"]\n';
    expect(config(rule)).toContain('(name = "abc-page.html", data = embed');
  });

  it.each([
    ['[[queues.consumers]]\nqueue = "q"', /translates "queues"/],
    [
      '[[durable_objects.bindings]]\nname = "X"\nclass_name = "X"\nscript_name = "other"',
      /"durable_objects.bindings.script_name"/,
    ],
    ['[[rules]]\ntype = "Text"\nglobs = ["page/*"]', /cannot translate the rule Text for "page\/\*"/],
  ])("is refused where wrangler.toml says %j", (toml, message) => {
    expect(() => config(toml)).toThrow(message);
  });

  it("can be had of our own wrangler.toml", () => {
    const own = readFileSync(resolve(import.meta.dirname, "../../wrangler.toml"), "utf8");
    const services = Object.fromEntries(
      [...own.matchAll(/^binding = "(\w+)"/gm)].map(([, name]) => [name, "http://h"]),
    );
    const text = workerdConfig({ wrangler: own, bundle, state: "/s", port: 1, vars: {}, secrets: [], services });
    expect(text).toContain('durableObjectNamespace = "Conversation"');
  });
});
