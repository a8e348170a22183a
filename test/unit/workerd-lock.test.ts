import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { workerdInstall, workerdLock } from "../../tools/workerd-lock.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PACKAGE_LOCK = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
const LOCK = workerdLock(PACKAGE_LOCK);

describe("what the package's command installs", () => {
  it.each([
    ["linux", "x64", "@cloudflare/workerd-linux-64"],
    ["linux", "arm64", "@cloudflare/workerd-linux-arm64"],
    ["darwin", "x64", "@cloudflare/workerd-darwin-64"],
    ["darwin", "arm64", "@cloudflare/workerd-darwin-arm64"],
  ])("on %s %s is that binary alone, with the version and the hash of package-lock.json", (platform, arch, wanted) => {
    const { name, files } = workerdInstall(LOCK, platform, arch);
    expect(name).toBe(wanted);
    const manifest = JSON.parse(files["package.json"]);
    expect(manifest.dependencies).toEqual({ [name]: PACKAGE_LOCK.packages[""].devDependencies.workerd });
    const { packages } = JSON.parse(files["package-lock.json"]);
    expect(Object.keys(packages)).toEqual(["", `node_modules/${name}`]);
    expect(packages[""].dependencies).toEqual(manifest.dependencies);
    expect(PACKAGE_LOCK.packages[`node_modules/${name}`]).toMatchObject(packages[`node_modules/${name}`]);
    // Without them npm could not notice another binary, and would have to be let choose one.
    expect(packages[`node_modules/${name}`]).toMatchObject({ integrity: expect.stringMatching(/^sha512-/) });
    expect(packages[`node_modules/${name}`]).not.toHaveProperty("optional");
  });

  it("is refused for a machine that there is none for, with those that there are", () => {
    expect(() => workerdInstall(LOCK, "freebsd", "x64")).toThrow(
      /^There is no workerd [\d.]+ for freebsd x64, only for darwin x64, darwin arm64, linux x64, /,
    );
  });

  it("is not cut out of a package-lock.json that lacks some of it", () => {
    expect(() => workerdLock({ packages: {} })).toThrow("package-lock.json has no workerd");
    const { integrity: _, ...rest } = PACKAGE_LOCK.packages["node_modules/@cloudflare/workerd-linux-64"];
    const packages = { ...PACKAGE_LOCK.packages, "node_modules/@cloudflare/workerd-linux-64": rest };
    expect(() => workerdLock({ packages })).toThrow("does not have version, integrity, os and cpu of @cloudflare/");
  });
});
