/** The gateway's origins as the test wants them: they are tried in the order in which they are named. */
import type { SessionOrigins } from "../../../src/conversation/session-store.ts";
import { ScriptedOrigin } from "./scripted-origin.ts";

type Question = Parameters<SessionOrigins["rank"]>[0];

export class ScriptedOrigins implements SessionOrigins {
  readonly #origins: Map<string, ScriptedOrigin>;
  isKnown = true;
  /** Of a configuration in which nobody serves the model: empty. */
  order: string[];
  /** What they were ranked for. */
  readonly questions: Question[] = [];
  /** Called when the order is not known yet. */
  learn: () => Promise<void> = async () => {};

  constructor(origins: Readonly<Record<string, ScriptedOrigin>>) {
    this.#origins = new Map(Object.entries(origins));
    this.order = Object.keys(origins);
  }

  static named(...names: string[]): ScriptedOrigins {
    return new ScriptedOrigins(Object.fromEntries(names.map((name) => [name, new ScriptedOrigin()])));
  }

  get firstName(): string {
    return this.order[0] ?? "";
  }

  rank(question: Question): string[] {
    this.questions.push(question);
    return this.order;
  }

  get(name: string): ScriptedOrigin | undefined {
    return this.#origins.get(name);
  }

  /** The one of that name, which the test knows to be there. */
  at(name: string): ScriptedOrigin {
    const origin = this.#origins.get(name);
    if (!origin) throw new Error(`There is no origin ${name}`);
    return origin;
  }

  /** Takes it out of the configuration. */
  remove(name: string): void {
    this.#origins.delete(name);
    this.order = this.order.filter((other) => other !== name);
  }
}
