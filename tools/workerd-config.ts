/**
 * What wrangler.toml describes, in workerd's own configuration language (Cap'n Proto text).
 *
 * wrangler.toml is the only description of the Worker: every object, variable and service that it names is translated;
 * what cannot be translated is an error, not left out. Secrets are named here and stand in workerd's environment.
 */
import { readdirSync } from "node:fs";
import { basename, extname, join, resolve } from "node:path";
import { parse } from "smol-toml";

export interface WorkerdOptions {
  /** The text of wrangler.toml. */
  wrangler: string;
  /** The folder that `buildBundle()` filled. */
  bundle: string;
  /** Where the Durable Objects' databases are; must exist. */
  state: string;
  /** The IPv4 address to listen on; 127.0.0.1 if left out. */
  host?: string | undefined;
  port: number;
  /** Take the place of the variables of the same name in wrangler.toml, or add to them. */
  vars: Readonly<Record<string, string>>;
  /** Names of the secrets that workerd finds in its environment. */
  secrets: readonly string[];
  /**
   * For each service binding of wrangler.toml the server that stands for it: binding → http or https URL, without a path.
   * Others are bindings as well, such as an owner's own wrangler.toml would have for `via` in ORIGINS.
   */
  services: Readonly<Record<string, string>>;
}

export function workerdConfig({
  wrangler,
  bundle,
  state,
  host = "127.0.0.1",
  port,
  vars,
  secrets,
  services,
}: WorkerdOptions): string {
  const worker = readWrangler(wrangler);
  const serviceNames = [...new Set([...worker.services, ...Object.keys(services)])];
  const bindings = [
    ...worker.objects.map(
      ({ binding, className }) => `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})`,
    ),
    ...Object.entries({ ...worker.vars, ...vars }).map(([name, value]) =>
      typeof value === "string"
        ? `(name = ${text(name)}, text = ${text(value)})`
        : `(name = ${text(name)}, json = ${text(JSON.stringify(value))})`,
    ),
    ...secrets.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
    ...serviceNames.map((name) => `(name = ${text(name)}, service = ${text(serviceName(name))})`),
  ];
  const namespaces = worker.objects.map(
    ({ className, sqlite }) =>
      `(className = ${text(className)}, uniqueKey = ${text(`holdfast-${className}`)}, enableSql = ${sqlite})`,
  );
  return `# Written by tools/workerd-config.ts from wrangler.toml at every start.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = ${list([
    '(name = "main", worker = .holdfast)',
    // "private" too: the origin is usually a neighbour.
    '(name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true)))',
    `(name = "state", disk = (path = ${text(state)}, writable = true))`,
    ...serviceNames.map((name) => externalService(name, services[name])),
  ])},
  sockets = [(name = "http", address = "${host}:${port}", http = (), service = "main")],
);

const holdfast :Workerd.Worker = (
  modules = ${list(modulesOf(bundle, worker))},
  compatibilityDate = ${text(worker.compatibilityDate)},
  compatibilityFlags = ${list(worker.compatibilityFlags.map(text))},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = "state"),
);
`;
}

/** Not the binding's own name, which could be that of one of our own services. */
function serviceName(binding: string): string {
  return `service-${binding}`;
}

function externalService(binding: string, url: string | undefined): string {
  const server = url !== undefined && URL.canParse(url) ? new URL(url) : undefined;
  if (server === undefined || !/^https?:$/.test(server.protocol) || server.pathname !== "/" || server.search !== "") {
    throw new Error(
      `The service binding "${binding}" of wrangler.toml needs an http or https URL without a path here, got ${url}`,
    );
  }
  const protocol =
    server.protocol === "http:"
      ? "http = ()"
      : `https = (options = (), tlsOptions = (trustBrowserCas = true), certificateHost = ${text(server.hostname)})`;
  const address = `${server.hostname}:${server.port || (server.protocol === "http:" ? 80 : 443)}`;
  return `(name = ${text(serviceName(binding))}, external = (address = ${text(address)}, ${protocol}))`;
}

/** Files in the bundle that the Worker does not import. */
const NOT_MODULES = new Set(["README.md", ".map"]);

/** How wrangler's default rules, and so workerd, take a file of the bundle. */
const MODULE_TYPES: Readonly<Record<string, string>> = {
  ".js": "esModule",
  ".mjs": "esModule",
  ".txt": "text",
  ".html": "text",
  ".sql": "text",
  ".bin": "data",
  ".wasm": "wasm",
};

/** What workerd calls the kinds of wrangler's `[[rules]]`. */
const RULE_TYPES: Readonly<Record<string, string>> = {
  ESModule: "esModule",
  CommonJS: "commonJsModule",
  Text: "text",
  Data: "data",
  CompiledWasm: "wasm",
};

/** The main module first, as workerd wants it. */
function modulesOf(bundle: string, { main, moduleTypes }: WorkerDescription): string[] {
  const entry = `${basename(main, extname(main))}.js`;
  const files = readdirSync(bundle).filter(
    (file) => !file.startsWith(".") && !NOT_MODULES.has(file) && !NOT_MODULES.has(extname(file)),
  );
  if (!files.includes(entry)) throw new Error(`Cannot serve ${bundle}: it has no ${entry}. Was the Worker built?`);
  return [entry, ...files.filter((file) => file !== entry)].map((file) => {
    const type = moduleTypes[extname(file)];
    if (!type) throw new Error(`Cannot serve ${join(bundle, file)}: unknown kind of module`);
    return `(name = ${text(file)}, ${type} = embed ${text(resolve(bundle, file))})`;
  });
}

/** A Cap'n Proto string: bytes, with C's escapes. */
function text(value: string): string {
  const escaped = value.replace(/["\\]/g, "\\$&");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be escaped
  return `"${escaped.replace(/[\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)}"`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "[]" : `[\n    ${items.join(",\n    ")},\n  ]`;
}

interface WorkerDescription {
  main: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  vars: Table;
  objects: { binding: string; className: string; sqlite: boolean }[];
  /** Names of the service bindings. */
  services: string[];
  /** Extension → workerd's word. */
  moduleTypes: Readonly<Record<string, string>>;
}

type Table = Readonly<Record<string, unknown>>;

const TRANSLATED = [
  ...["main", "compatibility_date", "compatibility_flags", "vars", "rules"],
  ...["durable_objects", "migrations", "services", "vpc_services", "vpc_networks"],
];

/** Settings of Cloudflare or of wrangler that change nothing about how the Worker answers here. */
const WITHOUT_EFFECT_HERE = [
  // The bundle was made with these.
  ...["build", "alias"],
  ...["name", "$schema", "account_id", "send_metrics", "dev", "env", "limits", "observability", "logpush", "placement"],
  ...["route", "routes", "workers_dev", "preview_urls", "keep_vars", "minify", "upload_source_maps", "secrets"],
  // Optional bindings: workerd has no such services, and the Worker does without.
  ...["ratelimits", "analytics_engine_datasets"],
];

function readWrangler(toml: string): WorkerDescription {
  const file = table("", parse(toml), [...TRANSLATED, ...WITHOUT_EFFECT_HERE]);
  const objects = table("durable_objects", file.durable_objects ?? {}, ["bindings", "code_update_strategy"]);
  const migrations = tables("migrations", file.migrations, ["tag", "new_classes", "new_sqlite_classes"]);
  const sqlite = migrations.flatMap((step) => strings("migrations.new_sqlite_classes", step.new_sqlite_classes));
  const services = [
    ...tables("services", file.services, ["binding", "service", "environment"]),
    ...tables("vpc_services", file.vpc_services, ["binding", "service_id", "remote"]),
    ...tables("vpc_networks", file.vpc_networks, ["binding", "tunnel_id", "network_id", "remote"]),
  ];
  return {
    main: string("main", file.main),
    // smol-toml has a type of its own for an unquoted date.
    compatibilityDate: String(file.compatibility_date),
    compatibilityFlags: strings("compatibility_flags", file.compatibility_flags),
    vars: table("vars", file.vars ?? {}),
    objects: tables("durable_objects.bindings", objects.bindings, ["name", "class_name"]).map((binding) => {
      const className = string("durable_objects.bindings.class_name", binding.class_name);
      const name = string("durable_objects.bindings.name", binding.name);
      return { binding: name, className, sqlite: sqlite.includes(className) };
    }),
    services: services.map(({ binding }) => string("services.binding", binding)),
    moduleTypes: moduleTypes(tables("rules", file.rules, ["type", "globs", "fallthrough"])),
  };
}

/** The variables of wrangler.toml that are strings. */
export function wranglerVars(toml: string): Record<string, string> {
  const { vars } = readWrangler(toml);
  return Object.fromEntries(
    Object.entries(vars).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])),
  );
}

/** The names of the service bindings of wrangler.toml. */
export function wranglerServices(toml: string): string[] {
  return readWrangler(toml).services;
}

/** wrangler.toml's rules before wrangler's own. */
function moduleTypes(rules: readonly Table[]): Record<string, string> {
  const types = { ...MODULE_TYPES };
  for (const rule of rules) {
    const type = RULE_TYPES[string("rules.type", rule.type)];
    for (const glob of strings("rules.globs", rule.globs)) {
      const extension = /^\*\*\/\*(\.[\w-]+)$/.exec(glob)?.[1];
      if (!type || !extension) throw new Error(`wrangler.toml: cannot translate the rule ${rule.type} for "${glob}"`);
      types[extension] = type;
    }
  }
  return types;
}

/** `keys`: all that may be in it. A binding that is silently missing would only show when a request needs it. */
function table(name: string, value: unknown, keys?: readonly string[]): Table {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`wrangler.toml: "${name}" must be a table`);
  }
  for (const key of Object.keys(value)) {
    if (keys === undefined || keys.includes(key)) continue;
    throw new Error(
      `Cannot serve wrangler.toml on workerd: nothing in tools/workerd-config.ts translates "${name && `${name}.`}${key}". ` +
        "Translate it there, or list it as without effect.",
    );
  }
  return { ...value };
}

function tables(name: string, value: unknown, keys: readonly string[]): Table[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`wrangler.toml: "${name}" must be an array of tables`);
  return value.map((item: unknown) => table(name, item, keys));
}

function string(name: string, value: unknown): string {
  if (typeof value !== "string") throw new Error(`wrangler.toml: "${name}" must be a string`);
  return value;
}

function strings(name: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`wrangler.toml: "${name}" must be an array of strings`);
  return value.map((item: unknown) => string(name, item));
}
