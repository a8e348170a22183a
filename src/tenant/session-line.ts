/**
 * What an operator sees of a session: one line in the log, and a data point in Analytics Engine where it is bound. Never a
 * prompt, an answer, a key or a conversation's id.
 */
import type { SessionUsage } from "./messages.ts";

export interface SessionLine {
  readonly tenant: string;
  /** The session's public name; absent on the strict path. */
  readonly session?: string;
  readonly usage: SessionUsage;
  /** Of the answer. */
  readonly bytes?: number;
}

/** A point's index groups what is sampled together. */
interface DataPoint {
  indexes: string[];
  blobs: string[];
  doubles: number[];
}

/** Analytics Engine's binding. */
export interface Dataset {
  writeDataPoint(point: DataPoint): void;
}

export function report(line: SessionLine, dataset: Dataset | undefined): void {
  console.log(JSON.stringify(logLine(line)));
  dataset?.writeDataPoint(dataPoint(line));
}

/** Fields that are not known are left out. */
export function logLine({ tenant, session, usage, bytes }: SessionLine): Record<string, unknown> {
  const { key, model, origin, end, durationMs, firstByteMs, tokens, reattached } = usage;
  const { input, cached, output } = tokens ?? {};
  return {
    event: "session_end",
    tenant,
    key,
    model,
    session,
    origin,
    end,
    input_tokens: input,
    cached_tokens: cached,
    output_tokens: output,
    ms: durationMs,
    first_byte_ms: firstByteMs,
    bytes,
    reattached,
  };
}

/** blobs: key, model, end; doubles: input, cached and output tokens (-1: unknown), duration and first byte (ms), bytes. */
export function dataPoint({ tenant, usage, bytes }: SessionLine): DataPoint {
  const { key, model, end, tokens, durationMs, firstByteMs } = usage;
  const numbers = [tokens?.input, tokens?.cached, tokens?.output, durationMs, firstByteMs, bytes];
  return { indexes: [tenant], blobs: [key, model ?? "", end], doubles: numbers.map((number) => number ?? -1) };
}
