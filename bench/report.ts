/** The tables: each figure beside the floor and the JavaScript lane, beside its target, and beside all others. */
import type { Bench } from "./bench.ts";
import { PACED, SIDE_BY_SIDE } from "./ratios.ts";

/** What a figure may be. Ratios are of figures of one run; absolute numbers are only used where a count is meant. */
type Limit =
  | { readonly of: readonly string[]; readonly most: number }
  | { readonly of: readonly string[]; readonly least: number }
  | { readonly of: readonly string[]; readonly plus: number }
  | { readonly of: readonly string[]; readonly below: true }
  | { readonly most: number };

interface Line {
  readonly figure: string;
  readonly what: string;
  readonly unit: string;
  readonly target?: Limit;
  readonly stretch?: Limit;
}

const FLOOR = ["floor"];
const LLAMA = ["llama-server"];

const JS_LANE = ["js-lane"];

const LINES: readonly Line[] = [
  ...PACED.flatMap((streams): Line[] => [
    {
      figure: `paced${streams}.cpu`,
      what: `CPU per event, ${streams} × 50 events/s`,
      unit: "µs",
      target: { of: JS_LANE, most: 1.1 },
      stretch: { of: JS_LANE, most: 1.05 },
    },
    {
      figure: `paced${streams}.p50`,
      what: "the same, latency p50",
      unit: "ms",
      ...(streams === 50 && { target: { of: FLOOR, plus: 0.4 } }),
    },
    {
      figure: `paced${streams}.p99`,
      what: "the same, latency p99",
      unit: "ms",
      ...(streams === 50 && { target: { of: FLOOR, most: 1.1 } }),
    },
    ...(streams < 100 ? [] : [{ figure: "paced100.rate", what: "the same, events of 5,000 per second", unit: "/s" }]),
  ]),
  ...SIDE_BY_SIDE.map(
    (streams): Line => ({
      figure: `side${streams}.cpu`,
      what: `CPU per event, ${streams} × 50 events/s each, all at the same time`,
      unit: "µs",
      target: { of: JS_LANE, most: 1.1 },
      stretch: { of: JS_LANE, most: 1.05 },
    }),
  ),
  {
    figure: "single.cpu",
    what: "CPU per request of one event, new conversation",
    unit: "ms",
    target: { of: FLOOR, most: 1.5 },
  },
  {
    figure: "atOnce.p50",
    what: "100 conversations at once, first event, p50",
    unit: "ms",
    target: { of: FLOOR, most: 3 },
  },
  { figure: "atOnce.last", what: "the same, the last one's", unit: "ms", target: { of: FLOOR, most: 3 } },
  { figure: "first.new", what: "first event, new conversation, p50", unit: "ms" },
  { figure: "first.next", what: "first event, the conversation's next answer, p50", unit: "ms" },
  {
    figure: "unpaced.cpu",
    what: "CPU per event, 20,000 events unpaced",
    unit: "µs",
    target: { of: FLOOR, most: 6 },
    stretch: { of: FLOOR, most: 2 },
  },
  { figure: "unpaced.rate", what: "the same, events per second", unit: "/s" },
  {
    figure: "replay.one",
    what: "replay of a finished 3.9 MB answer, 1 reader",
    unit: "MB/s",
    target: { of: LLAMA, least: 0.7 },
    stretch: { of: LLAMA, least: 1 },
  },
  {
    figure: "replay.many",
    what: "the same, 50 readers at once",
    unit: "MB/s",
    target: { of: LLAMA, least: 0.7 },
    stretch: { of: LLAMA, least: 1 },
  },
  {
    figure: "replay.coldOne",
    what: "the same, object not in memory, 1 reader",
    unit: "MB/s",
    target: { of: ["llama-server/replay.one"], least: 0.4 },
    stretch: { of: ["llama-server/replay.one"], least: 1 },
  },
  {
    figure: "replay.coldMany",
    what: "the same, object not in memory, 50 readers",
    unit: "MB/s",
    target: { of: ["llama-server/replay.many"], least: 0.4 },
    stretch: { of: ["llama-server/replay.many"], least: 1 },
  },
  { figure: "replay.cpu", what: "the same, in memory, CPU per MB", unit: "ms" },
  {
    figure: "fanOut.cpu",
    what: "CPU per delivery, 1 conversation, 100 live readers",
    unit: "µs",
    target: { of: ["resumable-stream"], below: true },
    stretch: { most: 40 },
  },
  { figure: "fanOut.p50", what: "latency p50, same load", unit: "ms" },
  { figure: "fanOut.p99", what: "latency p99, same load", unit: "ms" },
  {
    figure: "gone.cpu",
    what: "CPU per event, all clients gone, 100 × 50 events/s",
    unit: "µs",
    target: { of: ["resumable-stream", "durable-streams"], below: true },
    stretch: { most: 60 },
  },
  {
    figure: "memory.live",
    what: "memory per live conversation",
    unit: "kB",
    target: { of: FLOOR, most: 2 },
    stretch: { of: FLOOR, most: 1.3 },
  },
  { figure: "memory.rest", what: "resident per conversation, REST after the end", unit: "kB" },
  { figure: "memory.steady", what: "highest per live conversation, wave after wave of 200", unit: "kB" },
  {
    figure: "memory.held",
    what: "held by an ended conversation (rise by wave)",
    unit: "kB",
    // What workerd itself holds of an object that is gone, and the noise of a process's memory.
    target: { most: 40 },
  },
  { figure: "memory.peak", what: "memory of the whole process, highest", unit: "MB" },
  { figure: "crowd.errors", what: "CROWD × 10 events/s: answers not complete", unit: "", target: { most: 0 } },
  { figure: "crowd.cpu", what: "the same, CPU per event", unit: "µs" },
  { figure: "crowd.rate", what: "the same, events delivered of OFFERED per second", unit: "/s" },
  { figure: "crowd.p50", what: "the same, latency p50", unit: "ms" },
  { figure: "crowd.p99", what: "the same, latency p99", unit: "ms", target: { of: FLOOR, most: 2 } },
  ...Object.entries({ text: "one long string", nested: "11 million arrays", deep: "33 million brackets" }).map(
    ([kind, what]): Line => ({
      figure: `body.${kind}`,
      what: `latest event of others during a body of 32 MiB, ${what}`,
      unit: "ms",
      target: { most: 100 },
    }),
  ),
  {
    figure: "lookup.none",
    what: "lookup of 5,000 ids of no conversation",
    unit: "ms",
    target: { most: 50 },
  },
  ...[1, 100, 1_000, 5_000].flatMap((size): Line[] => {
    const ids = size.toLocaleString("en-US");
    return [
      { figure: `lookup.again${size}`, what: `lookup of ${ids}, objects in memory`, unit: "ms" },
      { figure: `lookup.cold${size}`, what: `lookup of ${ids}, objects not in memory`, unit: "ms" },
      { figure: `lookup.cpu${size}`, what: `lookup of ${ids}, in memory, CPU`, unit: "ms" },
    ];
  }),
  {
    figure: "rows.answer",
    what: "rows written per 1,000 tokens at 50 tokens/s, alarms set included",
    unit: "rows",
    target: { most: 25 },
    stretch: { most: 12 },
  },
  { figure: "rows.bytes", what: "stored per 1,000 tokens (245 kB of events)", unit: "kB" },
  {
    figure: "money.million",
    what: "Cloudflare's price per million tokens at 50 tokens/s",
    unit: "$",
    target: { most: 0.06 },
    stretch: { most: 0.045 },
  },
  { figure: "money.oneUser", what: "one user, all month without a pause, plan included", unit: "$" },
  { figure: "money.tenThousand", what: "10,000 users at once, all month without a pause", unit: "$" },
];

type Verdict = "met" | "not met" | "";

export interface ReportLine {
  figure: string;
  what: string;
  unit: string;
  /** By contestant. */
  values: Record<string, number>;
  /** Holdfast to these, round by round, where both have the figure. */
  toFloor: number | null;
  toJsLane: number | null;
  target: string;
  targetMet: Verdict;
  stretch: string;
  stretchMet: Verdict;
}

export function reportLines(bench: Bench): ReportLine[] {
  return LINES.flatMap(({ figure, what, unit, target, stretch }): ReportLine[] => {
    const values: Record<string, number> = {};
    for (const name of bench.figures.keys()) {
      const value = bench.figure(name, figure);
      if (value !== undefined) values[name] = value;
    }
    if (Object.keys(values).length === 0) return [];
    return [
      {
        figure,
        what: what
          .replace("CROWD", bench.quick ? "300" : "1,000")
          .replace("OFFERED", bench.quick ? "3,000" : "10,000")
          .replace("REST", bench.quick ? "12 s" : "1 min"),
        unit,
        values,
        toFloor: bench.ratio("holdfast", "floor", figure) ?? null,
        toJsLane: bench.ratio("holdfast", "js-lane", figure) ?? null,
        target: target ? limitText(target) : "",
        targetMet: target ? verdict(bench, figure, target) : "",
        stretch: stretch ? limitText(stretch) : "",
        stretchMet: stretch ? verdict(bench, figure, stretch) : "",
      },
    ];
  });
}

function limitText(limit: Limit): string {
  if (!("of" in limit)) return `≤ ${limit.most}`;
  const of = limit.of.map((name) => name.split("/")[0]).join(", ");
  if ("most" in limit) return `≤ ${limit.most} × ${of}`;
  if ("plus" in limit) return `≤ ${of} + ${limit.plus}`;
  return "least" in limit ? `≥ ${limit.least} × ${of}` : `< ${of}`;
}

/** "" when what it is compared with was not measured in this run. */
function verdict(bench: Bench, figure: string, limit: Limit): Verdict {
  const value = bench.figure("holdfast", figure);
  if (value === undefined) return "";
  const word = (isMet: boolean): Verdict => (isMet ? "met" : "not met");
  // A count is a whole number; a quantity is never exactly 0, and half a unit is below what is shown.
  if (!("of" in limit)) return word(value <= limit.most + (limit.most === 0 ? 0.5 : 0));
  const verdicts = limit.of.map((name) => {
    const [contestant = "", other = figure] = name.split("/");
    const theirs = bench.figure(contestant, other);
    if (theirs === undefined) return undefined;
    const ratio = (other === figure && bench.ratio("holdfast", contestant, figure)) || value / theirs;
    if ("most" in limit) return ratio <= limit.most;
    if ("plus" in limit) return value <= theirs + limit.plus;
    return "least" in limit ? ratio >= limit.least : ratio < 1;
  });
  return verdicts.includes(undefined) ? "" : word(!verdicts.includes(false));
}

interface Table {
  readonly title: string;
  readonly cells: readonly string[][];
}

/** Of all lines: what has a yardstick, what has a target, and what other contestants need. Empty ones are left out. */
export function tables(lines: readonly ReportLine[]): Table[] {
  const has = ({ values }: ReportLine, names: readonly string[]) => names.some((name) => name in values);
  const measured = [...new Set(lines.flatMap(({ values }) => Object.keys(values)))];
  const others = measured.filter((name) => !["floor", "js-lane", "before", "holdfast"].includes(name));
  const before = measured.filter((name) => name === "before");
  const yardstick = lines.filter((line) => has(line, ["floor", "js-lane"]));
  const all = [
    {
      title: "Beside the floor and the bare JavaScript lane",
      cells: [
        ["what", "unit", "floor", "js-lane", ...before, "holdfast", "× floor", "× js-lane"],
        ...yardstick.map((line) => [
          ...[line.what, line.unit, ...["floor", "js-lane", ...before, "holdfast"].map((name) => cell(line, name))],
          ...[line.toFloor, line.toJsLane].map((ratio) => ratio?.toFixed(2) ?? ""),
        ]),
      ],
    },
    {
      title: "Holdfast and its targets",
      cells: [
        ["what", "unit", "holdfast", "target", "", "stretch", ""],
        ...lines
          .filter((line) => has(line, ["holdfast"]) && (line.target !== "" || !yardstick.includes(line)))
          .map((line) => [
            ...[line.what, line.unit, cell(line, "holdfast")],
            ...[line.target, line.targetMet, line.stretch, line.stretchMet],
          ]),
      ],
    },
    {
      title: "Others",
      cells: [
        ["what", "unit", "holdfast", ...others],
        ...lines
          .filter((line) => has(line, others))
          .map((line) => [line.what, line.unit, ...["holdfast", ...others].map((name) => cell(line, name))]),
      ],
    },
  ];
  return all.filter(({ cells }) => cells.length > 1);
}

function cell({ values }: ReportLine, contestant: string): string {
  const value = values[contestant];
  return value === undefined ? "" : short(value);
}

/** Three digits that mean something. */
function short(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Number(value.toFixed(Math.min(4, digits))).toLocaleString("en-US", { maximumFractionDigits: 4 });
}

export function asText(cells: readonly string[][]): string {
  const widths = widthsOf(cells);
  const line = (row: readonly string[]) => padded(row, widths).join("  ").trimEnd();
  const [head = [], ...rest] = cells;
  return [line(head), widths.map((width) => "─".repeat(width)).join("  "), ...rest.map(line)].join("\n");
}

export function asMarkdown(cells: readonly string[][]): string {
  const widths = widthsOf(cells);
  const line = (row: readonly string[]) => `| ${padded(row, widths).join(" | ")} |`;
  const [head = [], ...rest] = cells;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest.map(line)].join("\n");
}

function widthsOf(cells: readonly string[][]): number[] {
  return (cells[0] ?? []).map((_, i) => Math.max(3, ...cells.map((row) => row[i]?.length ?? 0)));
}

/** Numbers to the right. */
function padded(row: readonly string[], widths: readonly number[]): string[] {
  return row.map((cell, i) => (/^[\d.,-]+$/.test(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)));
}
