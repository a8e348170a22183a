/**
 * One chain of random steps on one conversation id, which two tenants use at the same time: each step is compared with the
 * model. Chains run side by side; one chain does one thing at a time, so its model is exact.
 */
import { within } from "../../tools/wait.ts";
import { type ConversationModel, ModelledSession } from "./fuzz-model.ts";
import { type Kind, type OddOrigin, OUTCOMES, PRIVATE_HEADERS, type Script } from "./fuzz-origin.ts";
import { pipeline, rawCase } from "./fuzz-raw.ts";
import { type Answer, type SendOptions, send } from "./http.ts";
import type { Random } from "./random.ts";
import { sendRaw, statusesIn } from "./raw-socket.ts";

/** No request may take longer; the machine may be busy. */
const DEADLINE_MS = 40_000;
const KINDS = Object.keys(OUTCOMES) as Kind[];
/** Without `stream`, what is sent again or replayed is none of these. */
const JSON_KINDS = ["real", "json", "ownError", "html", "reset", "noHttp"] as const satisfies readonly Kind[];
const STRICT_KINDS = ["json", "ownError", "html", "redirect", "oddStatus", "noHttp", "reset", "hugeError"] as const;
const BAD_BODIES = ["", "{", "[]", "null", '{"messages":1}', '{"messages":[]}x', `{"a":${"[".repeat(2_000)}`, "\u0000"];

export class FuzzClient {
  requests = 0;
  readonly #url: string;
  readonly #origin: OddOrigin;
  readonly #random: Random;
  readonly #id: string;
  readonly #keys: ReadonlyMap<string, string>;
  readonly #models = new Map<string, ConversationModel>();
  #prompts = 0;

  /** `keys` by tenant. */
  constructor(url: string, origin: OddOrigin, random: Random, id: string, keys: ReadonlyMap<string, string>) {
    this.#url = url;
    this.#origin = origin;
    this.#random = random;
    this.#id = id;
    this.#keys = keys;
  }

  async step(): Promise<void> {
    const tenant = this.#one([...this.#keys.keys()]);
    const model = this.#models.get(tenant) ?? { current: undefined, hasReplaced: false };
    this.#models.set(tenant, model);
    const steps = [
      ...[this.#post, this.#post, this.#post, this.#read, this.#read, this.#read, this.#lookup, this.#stop],
      ...[
        this.#badPost,
        this.#strict,
        this.#strict,
        this.#raw,
        this.#raw,
        this.#retry,
        this.#stopWhileRead,
        this.#race,
      ],
    ];
    await this.#one(steps).call(this, tenant, model);
  }

  async #post(tenant: string, model: ConversationModel): Promise<void> {
    const { script, body, isStream } = this.#request(tenant);
    const answer = await this.#ask(tenant, "POST", "/v1/chat/completions", { headers: this.#named, body });
    await this.#opened(model, answer, new ModelledSession(nameOf(answer), script, body, isStream));
  }

  /** What the POST of `session` was answered. */
  async #opened(model: ConversationModel, answer: Answer, session: ModelledSession): Promise<void> {
    const before = model.current;
    const { script } = session;
    const outcome = OUTCOMES[script.kind];
    if (before && before.end === undefined) {
      before.mayBeReplaced = true;
      model.hasReplaced = true;
    }
    if (answer.status !== 200) {
      const text = (await answer.whole(DEADLINE_MS)).toString();
      const isRight = answer.status === (script.kind === "ownError" ? script.status : 502);
      const isVerbatim = script.kind !== "ownError" || text.includes(script.prompt);
      if (outcome !== "refused" || !isRight || !isVerbatim) throw unexpected(`POST ${JSON.stringify(script)}`, answer);
      return;
    }
    if (outcome === "refused") throw unexpected(`POST ${JSON.stringify(script)}`, answer);
    if (before) this.#origin.forget(before.script.prompt);
    model.current = session;
    await this.#take(answer, session, 0);
  }

  async #read(tenant: string, model: ConversationModel): Promise<void> {
    const { current } = model;
    const known = current?.seen.length ?? 0;
    const from = this.#one([
      0,
      0,
      known,
      this.#random.between(0, known),
      this.#random.between(0, known),
      known + 9_999,
    ]);
    const fence = this.#one([undefined, undefined, current?.name, "00000000-0000-4000-8000-000000000000"]);
    const raw = this.#one([`${from}`, `${from}`, `${from}`, `${from}x`, ` ${from}`, "abc", "99999999999999999999999"]);
    const query = `from=${encodeURIComponent(raw)}${fence === undefined ? "" : `&session=${fence}`}`;
    const path = this.#one([`/v1/stream?conv_id=${this.#id}&${query}`, `/v1/stream/${this.#id}?${query}`]);
    const isHead = this.#random.between(0, 5) === 0;
    const answer = await this.#ask(tenant, isHead ? "HEAD" : "GET", path);
    const isNumber = !/^(abc|9{20,})/.test(raw);
    const isFenced = fence !== undefined && fence !== current?.name;
    const isStanding = model.hasReplaced && fence === undefined && from > 0;
    const wanted = !current ? [404] : isFenced ? [409] : !isNumber ? [400] : isStanding ? [200, 409] : [200];
    if (!wanted.includes(answer.status)) throw unexpected(`${path}, wanted ${wanted}`, answer);
    if (answer.status === 200 && current && !isHead) await this.#take(answer, current, from);
    else answer.destroy();
  }

  /** Reads all of it, or leaves in the middle. */
  async #take(answer: Answer, session: ModelledSession, from: number): Promise<void> {
    if (nameOf(answer) !== session.name) throw unexpected(`a reader of ${session.name}`, answer);
    if (this.#random.between(0, 2) === 0) {
      const enough = this.#random.between(0, 3_000);
      await within(
        Promise.race([answer.closed, answer.readUntil(enough, DEADLINE_MS).catch(() => {})]),
        "bytes",
        DEADLINE_MS,
      );
      if (!answer.ended) {
        session.show(this.#origin, from, answer.bytes, false);
        if (this.#random.between(0, 1) === 0) answer.reset();
        else answer.destroy();
        return;
      }
    }
    session.show(this.#origin, from, await answer.whole(DEADLINE_MS), true);
  }

  async #lookup(tenant: string, { current }: ConversationModel): Promise<void> {
    const junk = this.#one<unknown>([7, null, "", "\u0000", "x".repeat(600), {}]);
    const body = { conversation_ids: [`${this.#id}-nobody`, this.#id, junk, this.#id] };
    const answer = await this.#ask(tenant, "POST", "/v1/streams/lookup", { body });
    const rows = (await answer.json()) as { session: string; total_bytes: number; end: string | null }[];
    const isRight = rows.every(
      ({ session, total_bytes, end }) =>
        session === current?.name &&
        (!current.isStream || total_bytes >= current.seen.length) &&
        (current.end === undefined || current.end === end),
    );
    if (rows.length !== (current ? 2 : 0) || !isRight) throw unexpected(`lookup of ${current?.name}`, answer);
  }

  async #stop(tenant: string, model: ConversationModel): Promise<void> {
    const fence = this.#one([undefined, model.current?.name, "00000000-0000-4000-8000-000000000000"]);
    const path = `/v1/stream?conv_id=${this.#id}${fence === undefined ? "" : `&session=${fence}`}`;
    const answer = await this.#ask(tenant, "DELETE", path);
    const isFenced = model.current !== undefined && fence !== undefined && fence !== model.current.name;
    if (answer.status !== (isFenced ? 409 : 204)) throw unexpected(path, answer);
    if (!isFenced) this.#forget(model);
  }

  async #stopWhileRead(tenant: string, model: ConversationModel): Promise<void> {
    const { current } = model;
    if (!current?.isStream) return;
    const path = `/v1/stream?conv_id=${this.#id}`;
    const reader = await this.#ask(tenant, "GET", path);
    const stopped = await this.#ask(tenant, "DELETE", path);
    if (reader.status !== 200 || stopped.status !== 204) throw unexpected("a reader of a stopped session", reader);
    const whole = await reader.whole(DEADLINE_MS).catch((error: unknown) => {
      // Its bytes are deleted with the stop: a reader that lags behind what is in memory is cut off, and sees that.
      if (current.script.kind !== "huge") throw error;
    });
    current.show(this.#origin, 0, whole ?? reader.bytes, whole !== undefined);
    this.#forget(model);
  }

  /** Two POSTs at once: both are answered, and the session afterwards is one of them. */
  async #race(tenant: string, model: ConversationModel): Promise<void> {
    const before = model.current;
    if (before) before.mayBeReplaced = true;
    model.hasReplaced = true;
    const both = [this.#request(tenant, "whole"), this.#request(tenant, "real")].map(
      async ({ script, body, isStream }) => {
        const answer = await this.#ask(tenant, "POST", "/v1/chat/completions", { headers: this.#named, body });
        const session = new ModelledSession(nameOf(answer), script, body, isStream);
        const bytes = await answer.whole(DEADLINE_MS);
        session.mayBeReplaced = true;
        if (answer.status === 200) session.show(this.#origin, 0, bytes, true);
        else if (answer.status !== 409) throw unexpected("one of two POSTs", answer);
        return session;
      },
    );
    const sessions = await Promise.all(both);
    const row = await this.#ask(tenant, "POST", "/v1/streams/lookup", { body: { conversation_ids: [this.#id] } });
    const [{ session } = { session: "" }] = (await row.json()) as { session: string }[];
    model.current = sessions.find(({ name }) => name === session);
    if (!model.current) throw unexpected("the session after two POSTs", row);
  }

  async #retry(tenant: string, { current }: ConversationModel): Promise<void> {
    if (current?.end !== "done") return;
    const headers = { ...this.#named, "x-stainless-retry-count": "1" };
    const answer = await this.#ask(tenant, "POST", "/v1/chat/completions", { headers, body: current.body });
    if (answer.status !== 200) throw unexpected("a retry", answer);
    await this.#take(answer, current, 0);
  }

  async #badPost(tenant: string): Promise<void> {
    const [headers, body] = this.#one<[Record<string, string>, string]>([
      [this.#named, this.#one(BAD_BODIES)],
      [{ "x-conversation-id": "x".repeat(513) }, "{}"],
      [{ ...this.#named, "idempotency-key": "k".repeat(256) }, "{}"],
    ]);
    const answer = await this.#ask(tenant, "POST", "/v1/chat/completions", { headers, body });
    if (answer.status !== 400) throw unexpected(`a body of ${body.slice(0, 40)}`, answer);
  }

  async #strict(tenant: string): Promise<void> {
    const script = { ...this.#script(tenant, STRICT_KINDS), prompt: "strict" };
    const path = this.#one(["/tokenize", "/v1/chat/completions", "/v1/models", "/props"]);
    const isGet = path === "/v1/models" || path === "/props";
    const answer = isGet
      ? await this.#ask(tenant, "GET", `${path}?fuzz=${encodeURIComponent(JSON.stringify(script))}`)
      : await this.#ask(tenant, "POST", path, { body: { messages: [], fuzz: script } });
    const passed: Partial<Record<Kind, number>> = {
      json: 200,
      hugeError: 500,
      ownError: script.status,
      html: script.status,
    };
    if (answer.status !== (passed[script.kind] ?? 502))
      throw unexpected(`${path} ${script.kind} ${script.status}`, answer);
    await answer.whole(DEADLINE_MS);
  }

  async #raw(tenant: string): Promise<void> {
    const authorization = `Authorization: Bearer ${this.#keys.get(tenant)}`;
    const isPipeline = this.#random.between(0, 4) === 0;
    const { bytes, statuses } = isPipeline
      ? pipeline(authorization, this.#id)
      : rawCase(authorization, this.#random, this.#id);
    this.requests += isPipeline ? statuses.length : 1;
    const text = await sendRaw(this.#url, bytes, DEADLINE_MS);
    const got = statusesIn(text);
    const isRight = isPipeline ? got.join() === statuses.join() : got.every((status) => statuses.includes(status));
    if (!isRight)
      throw new Error(`${JSON.stringify(bytes.slice(0, 300))}: ${got}, wanted ${statuses}: ${text.slice(0, 300)}`);
  }

  #forget(model: ConversationModel): void {
    if (model.current) this.#origin.forget(model.current.script.prompt);
    model.current = undefined;
  }

  #request(tenant: string, kind?: Kind) {
    const isStream = kind !== undefined || this.#random.between(0, 4) > 0;
    const kinds = kind !== undefined ? [kind] : isStream ? KINDS : JSON_KINDS;
    const script = this.#script(tenant, kinds);
    const messages = [{ role: "user", content: script.prompt }];
    const body = JSON.stringify({ messages, stream: isStream, max_tokens: this.#random.between(1, 60), fuzz: script });
    return { script, body, isStream };
  }

  #script(tenant: string, kinds: readonly Kind[]): Script {
    const kind = this.#one(kinds);
    const statuses = kind === "html" ? [403, 404, 429, 502, 503, 524] : [400, 404, 422, 500, 503];
    const events = this.#random.between(1, 20);
    return {
      prompt: `${tenant}/${this.#id}/${this.#prompts++}`,
      kind,
      events,
      // Before the end: an event of a script has some 60 bytes.
      cutAt: this.#random.between(0, events * 50),
      status: this.#one(statuses),
    };
  }

  get #named() {
    return { "x-conversation-id": this.#id };
  }

  /** The head of an answer, and what holds for all of them. */
  async #ask(tenant: string, method: string, path: string, { headers, body }: SendOptions = {}): Promise<Answer> {
    this.requests += 1;
    const authorization = `Bearer ${this.#keys.get(tenant)}`;
    const exchange = send(method, this.#url + path, { headers: { authorization, ...headers }, body });
    const answer = await within(exchange.answer, `an answer to ${method} ${path} ${JSON.stringify(body)}`, DEADLINE_MS);
    const leaked = Object.keys(PRIVATE_HEADERS).filter((name) => name in answer.headers);
    if (leaked.length > 0) throw unexpected(`the origin's ${leaked} in ${method} ${path}`, answer);
    if (answer.headers["cache-control"] !== "no-store") throw unexpected(`no-store of ${method} ${path}`, answer);
    return answer;
  }

  #one<Value>(values: readonly Value[]): Value {
    return values[this.#random.between(0, values.length - 1)] as Value;
  }
}

function nameOf({ headers }: Answer): string {
  return String(headers["holdfast-session"] ?? "");
}

function unexpected(what: string, answer: Answer): Error {
  return new Error(`${what}: ${answer.status} ${JSON.stringify(answer.headers)} ${answer.text.slice(0, 300)}`);
}
