/**
 * Which origin a request goes to: the candidates in the order in which they are tried. Pure, and the same wherever it is
 * computed: two Workers, or one before and after a restart, agree as far as they have seen the same of the origins.
 *
 *   serves the model ─▶ is there ─▶ was the conversation's last ─▶ model loaded ▸ sleeping ▸ not loaded ─▶ rendezvous hash
 *
 * Rendezvous: each origin gets a number made of its name and the key, and the highest wins. No table and no state: an
 * origin that goes takes only its own conversations away, one that comes back gets the same ones again.
 */
import type { ModelStatus } from "./models.ts";

export interface Candidate {
  readonly name: string;
  readonly weight: number;
  /** Globs; empty: any model. */
  readonly models: readonly string[];
  /** The models that it listed, the aliases too; `undefined`: it was not asked, or did not answer. */
  readonly listed: ReadonlyMap<string, ModelStatus> | undefined;
  readonly isAvailable: boolean;
}

export interface Question {
  /** `undefined`: the request names none. */
  readonly model: string | undefined;
  /** What the request's prompt cache belongs to. */
  readonly key: string;
  /** The origin that has the conversation's prompt cache. */
  readonly last?: string | undefined;
}

/** Names in the order to try; origins that are not there come last. Empty: no origin may be asked for that model. */
export function rank(candidates: readonly Candidate[], question: Question): string[] {
  const { model, key, last } = question;
  const order = serving(candidates, model).map((candidate) => ({
    name: candidate.name,
    place: [
      candidate.isAvailable ? 0 : 1,
      candidate.name === last ? 0 : 1,
      readiness(candidate, model),
      -score(candidate, key),
    ],
  }));
  return order.sort((a, b) => compare(a.place, b.place)).map(({ name }) => name);
}

/**
 * Who lists the model. Else who has not said what it has, and may. Only when all have said, and nobody has it, all of them:
 * a llama-server with one model answers to every name.
 */
function serving(candidates: readonly Candidate[], model: string | undefined): readonly Candidate[] {
  if (model === undefined) return candidates;
  const allowed = candidates.filter(({ models }) => models.length === 0 || models.some((glob) => matches(glob, model)));
  const listing = allowed.filter(({ listed }) => listed?.has(model));
  if (listing.length > 0) return listing;
  const silent = allowed.filter(({ listed }) => listed === undefined);
  return silent.length > 0 ? silent : allowed;
}

/** How soon the model answers there. */
const READINESS: Readonly<Record<ModelStatus, number>> = { loaded: 0, loading: 1, sleeping: 1, unloaded: 2 };

function readiness({ listed }: Candidate, model: string | undefined): number {
  const status = model === undefined ? undefined : listed?.get(model);
  return status === undefined ? 0 : READINESS[status];
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) {
    const difference = value - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The weighted rendezvous score: over many keys, each origin has the highest in proportion to its weight. */
function score({ name, weight }: Candidate, key: string): number {
  // Strictly between 0 and 1, so that the logarithm is finite and not 0.
  const share = (hash53(`${name}\n${key}`) + 1) / (2 ** 53 + 2);
  return -weight / Math.log(share);
}

/**
 * 53 well mixed bits (two lanes of multiplication and xor, finished as in MurmurHash3). Not a secret, and no proof against a
 * key holder who looks for keys of one origin: that puts load where a model name would put it as well.
 */
export function hash53(text: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    high = Math.imul(high ^ unit, 0x9e3779b1);
    low = Math.imul(low ^ unit, 0x5f356495);
  }
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  return (low >>> 0) * 2 ** 21 + (high >>> 11);
}

/** Whether the glob, in which `*` stands for any text, is the whole model name. In linear time: a model's name is the client's. */
export function matches(glob: string, model: string): boolean {
  const [first = "", ...rest] = glob.split("*");
  const last = rest.pop();
  if (last === undefined) return glob === model;
  if (!model.startsWith(first) || !model.endsWith(last) || model.length < first.length + last.length) return false;
  let at = first.length;
  const end = model.length - last.length;
  for (const part of rest) {
    const found = model.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
