/** What the documents name is there: tests, links, commands; and settings, routes, endings, errors: all of them, and no other. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { GENERATING_PATHS } from "../../src/families.ts";
import * as protocol from "../../src/protocol.ts";
import { FAILURE_CODES, LOOKUP_PATH, STREAM_PATH, USAGE_PATH } from "../../src/protocol.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

const PAGES = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const PROTOCOL = read("docs/protocol.md");

/**
 * `e2e/clients` "words of a test", "words of another": the file below test/, and words that stand in it. The conformance
 * suite's are rules, which run without a test runner too.
 */
const NAMED = /`((?:unit|workers|conformance|e2e|browser)\/[\w/.-]+)`((?:,? (?:and )?"[^"]+")+)/g;

interface NamedTest {
  doc: string;
  file: string;
  words: string;
}

function testsNamedIn(doc: string): NamedTest[] {
  return [...read(doc).matchAll(NAMED)].flatMap(([, file = "", quotes = ""]) =>
    [...quotes.matchAll(/"([^"]+)"/g)].map(([, words = ""]) => ({ doc, file, words })),
  );
}

describe("a test that the documents name", () => {
  const named = PAGES.flatMap(testsNamedIn);

  it("is found in them at all", () => {
    expect(named.length).toBeGreaterThan(100);
  });

  it.each(named)("exists: $doc names $file, $words", ({ file, words }) => {
    const path = join(ROOT, "test", file.startsWith("conformance/") ? `${file}.ts` : `${file}.test.ts`);
    expect(existsSync(path), path).toBe(true);
    const text = readFileSync(path, "utf8");
    for (const part of words.split(/: … | … /)) expect(text).toContain(part);
  });
});

describe("the documents' links", () => {
  it.each(PAGES)("lead somewhere: %s", (page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, target = ""]) => target);
    for (const link of links) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      expect(existsSync(join(ROOT, target)), `${page}: ${link}`).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(target), `${page}: ${link}`).toContain(anchor);
    }
  });
});

/** npm prints the command that it runs, and every user of the machine sees it in the list of processes. */
it.each(PAGES)("no command gives a key as an option: %s", (page) => {
  expect(read(page)).not.toMatch(/(?:npm|npx|holdfast) [^`\n]*--(?:other-|origin-)?key[ =]/);
});

/** As code hosts make them of headings. */
function anchorsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("the settings", () => {
  const inCode = [...read("src/env.d.ts").matchAll(/^ {4}([A-Z_]+)\??: string;/gm)].map(([, name = ""]) => name);
  const rows = [...section("Limits and settings").matchAll(/^\| ([^|]+) \| ([^|]+) \| `([A-Z_]+)` \|$/gm)];
  const listed = new Map(rows.map(([, , value = "", name = ""]) => [name, value]));

  it("in docs/protocol.md are those of the code", () => {
    expect([...listed.keys()].toSorted()).toEqual(inCode.toSorted());
  });

  it("have the defaults of wrangler.toml there", () => {
    const { vars } = parse(read("wrangler.toml"));
    const wrong = Object.entries(vars as Record<string, string>).filter(([name, value]) => {
      return !defaultsIn(listed.get(name) ?? "").includes(value);
    });
    expect(wrong).toEqual([]);
  });

  it("have no other names anywhere in the documents", () => {
    const others = ["LLAMA_SERVER", "LLAMA_MODEL", "ANTHROPIC_BASE_URL"];
    // Of other programs, and in examples.
    const placeholders = /^(?:CHAT|MESSAGE)_ID$|^(?:LIBRECHAT|OLLAMA|ATTIC|CELLAR|XDG)_/;
    const inSource = [...read("src/protocol.ts").matchAll(/const ([A-Z_]+)/g)].map(([, name]) => name);
    const tests = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => read(`test/${name}`));
    const scripts = readdirSync(join(ROOT, "scripts")).map((name) => read(`scripts/${name}`));
    const inEnvironment = [...tests, ...scripts].flatMap((text) =>
      [...text.matchAll(/(?:process\.env\.|fromEnvironment\(")(HOLDFAST_\w+)/g)].map(([, name]) => name),
    );
    const known = new Set<string | undefined>([
      ...inEnvironment,
      ...inCode,
      ...others,
      ...inSource,
      "FAILURE_CODES",
      "PASSTHROUGH_ROUTES",
    ]);
    const unknown = PAGES.filter((page) => page !== "CHANGELOG.md").flatMap((page) =>
      [...read(page).matchAll(/\b[A-Z]{2,}(?:_[A-Z]+)+\b/g)]
        .map(([name]) => name)
        .filter((name) => !known.has(name) && !placeholders.test(name))
        .map((name) => `${page}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });
});

/** What a cell of the table may stand for in wrangler.toml. */
function defaultsIn(cell: string): string[] {
  const [, digits = "", unit = ""] = /^([\d,]+) (s|MiB|GiB)\b/.exec(cell) ?? [];
  const factor = { MiB: 2 ** 20, GiB: 2 ** 30 }[unit] ?? 1;
  if (digits !== "") return [String(Number(digits.replaceAll(",", "")) * factor)];
  return { none: [""], any: ["*"] }[cell] ?? [cell.replaceAll("`", "")];
}

describe("the routes in docs/protocol.md", () => {
  it("are those of the code", () => {
    expect(routesListed().toSorted()).toEqual(routesInCode().toSorted());
  });
});

function routesInCode(): string[] {
  const constants: Readonly<Record<string, string>> = { STREAM_PATH, LOOKUP_PATH, USAGE_PATH };
  const own = [...read("src/app.ts").matchAll(/^app\.(get|post|delete)\(([^,]+), \w+\);/gm)].map(
    ([, method = "", path = ""]) => {
      const named = path
        .replace(/^["`]|["`]$/g, "")
        .replace(/\$\{(\w+)\}/, (_, name: string) => constants[name] ?? name);
      return `${method.toUpperCase()} ${(constants[named] ?? named).replace("/*", "/<id>").replace(/^\*$/, "/")}`;
    },
  );
  const admin = [...read("src/routes/admin.ts").matchAll(/^admin\.(get|post|patch|delete)\("([^"]+)"/gm)].map(
    ([, method = "", path = ""]) =>
      `${method.toUpperCase()} /v1/admin${path.replace(":tenant", "<tenant>").replace(":key", "<name>")}`,
  );
  const [, modelsPaths = ""] = /MODELS_PATHS = \[(.*)\]/.exec(read("src/routes/models.ts")) ?? [];
  const models = [...modelsPaths.matchAll(/"([^"]+)"/g)].map(([, path = ""]) => `GET ${path}`);
  const passed = [...read("src/routes/passthrough.ts").matchAll(/^ {2}\["(GET|POST)", "([^"]+)"\],/gm)].map(
    ([, method = "", path = ""]) => `${method} ${path}`,
  );
  return [...own, ...admin, ...models, ...passed, ...GENERATING_PATHS.map((path) => `POST ${path}`)];
}

/** In backticks: `GET /a` `/b` means GET for both; a path of the table of generating routes alone is a POST. */
function routesListed(): string[] {
  const cells = (text: string) => [...text.matchAll(/^\| (`[^|]*)\|/gm)].map(([, cell]) => cell).join("\n");
  const [lists = ""] = section("Passed through, and closed").split("\n\nEverything else");
  const all = [cells(section("Routes")), cells(section("People: keys and limits")), lists].join("\n");
  let method = "POST";
  const routes = [...all.matchAll(/`(?:([A-Z]+) )?((?:\[\/v1\])?\/[^`]*)`/g)].flatMap(([, named, path = ""]) => {
    method = named ?? method;
    const plain = path.replace(/(?:\[&|\?|\[\?).*/, "");
    const paths = plain.startsWith("[/v1]") ? [plain.slice(5), plain.replace(/[[\]]/g, "")] : [plain];
    // The family's table follows routes of other methods.
    return paths.map((one) => `${GENERATING_PATHS.includes(one) ? "POST" : method} ${one}`);
  });
  return [...new Set(routes.filter((route) => !route.includes("…")))];
}

describe("the headers that docs/protocol.md shows to browsers", () => {
  it("are those of the code", () => {
    const [, list = ""] = /exposeHeaders: \[\s*([^\]]*?),?\s*\]/.exec(read("src/app.ts")) ?? [];
    const names: Readonly<Record<string, unknown>> = { ...protocol };
    const several = /^\.\.\.Object\.values\((\w+)\)$/;
    const inCode = list.split(/,\s*/).flatMap((item) => {
      const [, table] = several.exec(item) ?? [];
      return table === undefined ? (names[item] ?? item.replaceAll('"', "")) : Object.values(names[table] ?? {});
    });
    const shown = [...PROTOCOL.matchAll(/^Access-Control-Expose-Headers: (.*)$/gm)].map(([, value]) => value);
    expect(shown).toEqual([inCode.join(","), inCode.join(",")]);
  });
});

describe("the endings and errors in docs/protocol.md", () => {
  const codes: readonly string[] = FAILURE_CODES;

  it("are those of the code: endings", () => {
    const [, type = ""] = /type SessionEnd = (.*);/.exec(read("src/protocol.ts")) ?? [];
    const inCode = [...codes, ...quoted(type)].filter((end) => end !== "refused");
    const listed = [...section("How a session ends").matchAll(/^\| `(\w+)` \|/gm)].map(([, end]) => end).slice(1);
    expect(listed.toSorted()).toEqual(inCode.toSorted());
  });

  it.each(FAILURE_CODES)("are explained elsewhere: %s, in guarantees.md and operations.md", (code) => {
    expect(read("docs/guarantees.md")).toContain(`\`${code}\``);
    expect(read("docs/operations.md")).toContain(`\`${code}\``);
  });

  it("are those of the code: error types", () => {
    const [, type = ""] = /type ErrorType =([^;]+);/.exec(read("src/errors.ts")) ?? [];
    const listed = [...section("Errors").matchAll(/^\| [^|]+ \| ([^|]+) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    expect([...new Set(listed)].filter((name) => name !== "type").toSorted()).toEqual(quoted(type).toSorted());
  });

  it("are the only ones that operations.md knows a cause of", () => {
    const [, type = ""] = /type ErrorType =([^;]+);/.exec(read("src/errors.ts")) ?? [];
    const [, table = ""] = read("docs/operations.md").split("## Something is wrong");
    const named = [...table.matchAll(/^\| [^|`]*\d{3} `(\w+)`/gm)].map(([, name]) => name);
    expect(named.filter((name) => !quoted(type).includes(name ?? ""))).toEqual([]);
    expect(named.length).toBeGreaterThan(8);
  });
});

describe("the commands in the documents", () => {
  const scripts = (JSON.parse(read("package.json")) as { scripts: Record<string, string> }).scripts;
  const written = PAGES.filter((page) => page !== "CHANGELOG.md")
    .flatMap((page) => codeIn(read(page)))
    .flatMap((code) => [...code.matchAll(/\bnpm (?:run ([\w:]+)|(start|test))(?: -- ([^#\n]*))?/g)])
    .map(([line, named, short, args = ""]) => ({ line, script: named ?? short ?? "", args }));

  it("name the package's file by its version", () => {
    const { version } = JSON.parse(read("package.json")) as { version: string };
    const files = PAGES.flatMap((page) => [...read(page).matchAll(/holdfast-(\d\S*?)\.tgz/g)]).map(
      ([, named]) => named,
    );
    expect(new Set(files)).toEqual(new Set([version]));
  });

  it("run scripts of package.json", () => {
    expect(written.filter(({ script }) => scripts[script] === undefined)).toEqual([]);
  });

  it("are all that there are, but for what npm and Cloudflare call", () => {
    const named = new Set(written.map(({ script }) => script));
    const called = ["prepack", "deploy"];
    expect(Object.keys(scripts).filter((script) => !named.has(script) && !called.includes(script))).toEqual([]);
  });

  it("have options that the scripts know", () => {
    const unknown = written.flatMap(({ line, script, args }) => {
      const [file = ""] = /\S+\.ts/.exec(scripts[script] ?? "") ?? [];
      const source = file === "" ? "" : read(file);
      return [...args.matchAll(/(?<!\S)--([\w-]+)/g)]
        .filter(([, name = ""]) => !new RegExp(`--${name}\\b|\\b${name}:|"${name}"`).test(source))
        .map(([option]) => `${line}: ${option}`);
    });
    expect(unknown).toEqual([]);
  });
});

/** Fenced blocks, and what stands in backticks. */
function codeIn(text: string): string[] {
  const fenced = [...text.matchAll(/```\w*\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
  return [...fenced, ...[...text.matchAll(/(?<!`)`([^`\n]+)`/g)].map(([, code = ""]) => code)];
}

/** The text below a heading of the second order. */
function section(heading: string): string {
  const [, text] = PROTOCOL.split(`\n## ${heading}\n`);
  if (text === undefined) throw new Error(`docs/protocol.md has no section "${heading}"`);
  return text.split("\n## ")[0] ?? "";
}

function quoted(text: string): string[] {
  return [...text.matchAll(/"(\w+)"/g)].map(([, word = ""]) => word);
}
