/**
 * What the button "Deploy to Cloudflare" reads of this repository. It prompts for every uncommented line of
 * .dev.vars.example as a required secret, with the value of the example filled in, and for every variable of wrangler.toml.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "smol-toml";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const manifest = JSON.parse(read("package.json"));
const worker = parse(read("wrangler.toml"));

it("asks for API_KEYS alone, and fills in no value that would be taken as it is", () => {
  expect(read(".dev.vars.example")).toBe("API_KEYS=\n");
});

it("describes what it asks for, and nothing that there is not", () => {
  const asked = ["API_KEYS", ...Object.keys(worker.vars ?? {})];
  const described = Object.keys(manifest.cloudflare.bindings);
  expect(described).toEqual(expect.arrayContaining(["API_KEYS", "ORIGIN_URL"]));
  expect(asked).toEqual(expect.arrayContaining(described));
});

it("deploys with wrangler alone, which asks nothing without a terminal", () => {
  expect(manifest.scripts.deploy).toBe("wrangler deploy");
});

it("asks for nothing that the free plan or an older API refuses", () => {
  expect(worker).not.toHaveProperty("limits");
  expect(worker.durable_objects).toMatchObject({ code_update_strategy: { max_delay: 300 } });
});

it("gives every variable a value", () => {
  for (const value of Object.values(worker.vars ?? {})) expect(value).toEqual(expect.any(String));
});
