/** Tokens per day as bars, what they add up to, and how the answers ended. */
import { el, svg } from "../dom.ts";
import { isRecord } from "../gateway.ts";
import { number, section, shown, tile, unheardNotes } from "./section.ts";

const DAYS = 30;
const HEIGHT = 120;
const BAR = 10;
const GAP = 4;
const BASE = 2;

interface Day {
  date: Date;
  input: number;
  output: number;
  requests: number;
}

interface Usage {
  days: Day[];
  ends: Map<string, number>;
  models: Map<string, number>;
  people: Map<string, number>;
  firstByteMs: number;
}

export function usageSection(title: string, ask: (query: string) => Promise<unknown>): HTMLElement {
  const query = `bucket_width=1d&limit=${DAYS}&group_by[]=model&group_by[]=user_id`;
  const load = async () => {
    const page = await ask(query);
    const told = isRecord(page) ? page : {};
    return [...contentOf(usageIn(told)), ...unheardNotes(told)];
  };
  return section(title, load, "This gateway counts no usage.");
}

function contentOf({ days, ends, models, people, firstByteMs }: Usage): Node[] {
  const sum = (pick: (day: Day) => number) => days.reduce((total, day) => total + pick(day), 0);
  const requests = sum((day) => day.requests);
  const tiles = el(
    "div",
    { class: "tiles" },
    tile("answers in 30 days", shown(requests)),
    tile("tokens written", shown(sum(({ output }) => output))),
    tile("tokens read", shown(sum(({ input }) => input))),
    tile("to the first word", requests > 0 ? `${(firstByteMs / requests / 1_000).toFixed(1)} s` : "–"),
  );
  const lists = [counts("How they ended", ends), counts("Tokens by model", models)];
  if (people.size > 1) lists.push(counts("Tokens by person", people));
  // Without an answer the plot is an empty field, and the lists are titles.
  return requests === 0 ? [tiles] : [tiles, plot(days), table(days), el("div", { class: "counts-row" }, ...lists)];
}

/** For the eye only: the table below says the same. */
function plot(days: readonly Day[]): SVGElement {
  const most = Math.max(1, ...days.map(({ input, output }) => input + output));
  const width = days.length * (BAR + GAP) - GAP;
  const bars = days.flatMap((day, index) => {
    const x = index * (BAR + GAP);
    const output = (HEIGHT * day.output) / most;
    const input = (HEIGHT * day.input) / most;
    return [
      svg("rect", { x, y: HEIGHT - BASE, width: BAR, height: BASE, class: "bar-base" }),
      svg("rect", { x, y: HEIGHT - output - input, width: BAR, height: input, rx: 2, class: "bar-input" }),
      svg("rect", { x, y: HEIGHT - output, width: BAR, height: output, rx: 2, class: "bar-output" }),
    ];
  });
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, class: "plot", "aria-hidden": "true", preserveAspectRatio: "none" },
    ...bars,
  );
}

function table(days: readonly Day[]): HTMLElement {
  const cells = (tag: "th" | "td", values: string[]) => values.map((value) => el(tag, {}, value));
  const used = days.filter(({ requests }) => requests > 0).reverse();
  const rows = used.map(({ date, requests, input, output }) => {
    const day = date.toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
    return el("tr", {}, ...cells("td", [day, shown(requests), shown(input), shown(output)]));
  });
  const [from, to] = [days[0], days.at(-1)].map((day) =>
    day?.date.toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" }),
  );
  return el(
    "details",
    { class: "day-table" },
    el(
      "summary",
      {},
      el("span", {}, from),
      el(
        "span",
        { class: "legend" },
        el("i", { class: "key-output" }),
        "written",
        el("i", { class: "key-input" }),
        "read · by day",
      ),
      el("span", {}, to),
    ),
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...cells("th", ["Day", "Answers", "Read", "Written"]))),
      el("tbody", {}, ...rows),
    ),
  );
}

function counts(title: string, of: ReadonlyMap<string, number>): HTMLElement {
  const sorted = Array.from(of).sort(([, a], [, b]) => b - a);
  const items = sorted.map(([name, count]) => el("li", {}, el("span", {}, name), el("b", {}, shown(count))));
  if (items.length === 0) items.push(el("li", {}, "nothing yet"));
  return el("div", { class: "counts" }, el("h3", {}, title), el("ul", {}, ...items));
}

function usageIn({ data }: Record<string, unknown>): Usage {
  const usage: Usage = { days: [], ends: new Map(), models: new Map(), people: new Map(), firstByteMs: 0 };
  const buckets = Array.isArray(data) ? data.filter(isRecord) : [];
  for (const bucket of buckets) {
    const day: Day = { date: new Date(1_000 * number(bucket.start_time)), input: 0, output: 0, requests: 0 };
    const results = Array.isArray(bucket.results) ? bucket.results.filter(isRecord) : [];
    for (const result of results) addResult(usage, day, result);
    usage.days.push(day);
  }
  return usage;
}

function addResult(usage: Usage, day: Day, result: Record<string, unknown>): void {
  const output = number(result.output_tokens);
  const input = number(result.input_tokens);
  day.output += output;
  day.input += input;
  day.requests += number(result.num_model_requests);
  usage.firstByteMs += number(result.first_byte_ms);
  const tokens = input + output;
  if (typeof result.model === "string" && tokens > 0) raise(usage.models, result.model, tokens);
  if (typeof result.user_id === "string" && tokens > 0) raise(usage.people, result.user_id, tokens);
  if (isRecord(result.ends))
    for (const [end, count] of Object.entries(result.ends)) raise(usage.ends, end, number(count));
}

function raise(counts: Map<string, number>, name: string, by: number): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}
