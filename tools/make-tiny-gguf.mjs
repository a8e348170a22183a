/**
 * Writes a tiny GGUF language model that a real llama-server loads and that streams readable, endless English about the
 * sea. No dependencies, no weights from anywhere: the "model" is a word bigram table learned from the text below.
 *
 *     node tools/make-tiny-gguf.mjs --out tiny.gguf [--layers 1] [--context 262144] [--calls]
 *
 * How a bigram table becomes a transformer:
 * - architecture "llama"; every attention and feed-forward weight is zero, so a layer adds nothing and the residual stream
 *   is the token's embedding;
 * - the embedding of a token is the one-hot vector of its state (a word has a state of its own; letters, raw bytes and
 *   control tokens share state 0);
 * - the final RMS norm of a one-hot vector of width S is sqrt(S) * one-hot, and output_norm = 1/sqrt(S) turns it back into
 *   the one-hot vector;
 * - row v, column s of the output matrix is log p(v | s).
 * The end-of-sequence token has a logit of -40 everywhere, so only max_tokens, a stop string or a full context ends a
 * generation.
 *
 * --layers N adds N zero layers: the text stays the same and every token costs more time. That makes a slow model.
 * --calls writes a model whose every answer is one tool call, weather({"place": "sea"}), and then the end of sequence.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    out: { type: "string" },
    layers: { type: "string", default: "1" },
    context: { type: "string", default: "262144" },
    calls: { type: "boolean", default: false },
  },
});
if (options.out === undefined) {
  console.error("make-tiny-gguf: --out FILE says where the model goes");
  process.exit(2);
}
const LAYERS = Number(options.layers);
const CONTEXT = Number(options.context);
const CALLS = options.calls;

// ---------------------------------------------------------------- the text
const TEXT = `
The sea is never quite the same twice. In the morning it is grey and slow, and the small boats lie on it like
leaves on a pond. By noon the wind comes round to the west and the water turns green, and the gulls climb over
the harbour wall and call to the men on the quay. In the evening the light goes out of the water from the land
outward, so that the last of the day is always far away, a thin bright line under the sky.

The lighthouse stands on the black rock at the end of the point. The keeper climbs the stairs at dusk and
trims the lamp, and the beam turns over the water until the morning. On a clear night the light is seen from
twenty miles, and on a night of fog it is seen from nowhere, and then the keeper sounds the horn and waits. He
writes the weather in the book: wind from the north, rain in the evening, a ship to the east. He writes the
names of the ships when he can read them — and when he can not, he writes a line and leaves it empty.

A ship came round the point in the rain, slow and low in the water, and the harbour went quiet. The old women
on the quay counted the men on the deck and said nothing until the rope was over the bollard. Then the captain
came down the ladder with salt in his beard, and the men laughed, and somebody put coffee on the stove in the
little café behind the fish market. The storm had taken the mast and two of the boats, but the crew was whole.

The captain kept a map of the coast that his father had drawn. On the map the rocks were black, the sand was
yellow, and the deep water was left white, for his father said that the deep has no colour of its own. The
captain added to the map each winter: a new bank of sand, a wreck, a buoy that had moved. A map of the sea is
never finished, he said, and neither is the sea.

At night the tide runs out past the lighthouse and the small boats turn to follow it. The stars come out over
the water, first the bright ones and then all the others, and the sailors who cannot sleep name them one by
one. The wind falls. The sails hang. Somebody sings a slow song about a harbour in the south, where the
water is warm and the wine is cheap, and nobody on the deck believes a word of it, and all of them know the
song by heart.

When the fog comes in, the harbour bell rings for the boats that are still out. The boys on the wall count
the boats as they come home: one, two, three, and then a long wait, and then four. The last boat is always the
one with the red sail. The keeper lights the lamp early, and the beam turns in the fog like a slow white wing
⚓ and the horn sounds over the water. The sea does not answer. The sea is only the sea, the old women say,
and it gives back what it wants to give back, in its own time.

In the winter the storm takes the sand from the beach and in the summer the tide brings it home. The rocks of
the point are worn as smooth as the stairs of the lighthouse. Ships pass far out, on their way to the east
with iron and to the west with grain 🐋 and the keeper sees the smoke of each one before he sees the ship. He
writes it in the book. He trims the lamp. He climbs down the stairs in the morning, and the light of the day
comes over the water to the harbour, and the gulls climb over the wall, and the sea is never quite the same.
`;

// ---------------------------------------------------------------- tokens of the text
// Words carry SentencePiece's leading "▁" (a space). Punctuation does not. The
// whale is left out of the vocabulary on purpose: it is emitted as four byte
// tokens, so that the stream holds a character that takes several tokens.
const SPACE = "\u2581";
const PARA = "\n\n";
const whale = [...Buffer.from("🐋", "utf8")].map((b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
const corpus = [];
// Nine pieces, so that a streamed call comes in several events.
if (CALLS)
  corpus.push(
    "<tool_call>",
    '\n{"name": "',
    "weather",
    '", "arguments": ',
    '{"place": ',
    '"se',
    'a"',
    "}}",
    "\n</tool_call>",
    "</s>",
    PARA,
  );
for (const para of CALLS ? [] : TEXT.trim().split(/\n\s*\n/)) {
  for (const raw of para.split(/\s+/)) {
    if (raw === "🐋") {
      corpus.push(SPACE, ...whale);
      continue;
    }
    const m = raw.match(/^(.*?)([.,:;]*)$/u);
    if (m[1]) corpus.push(SPACE + m[1]);
    for (const p of m[2]) corpus.push(p);
  }
  corpus.push(PARA);
}

// ---------------------------------------------------------------- vocabulary
const NORMAL = 1,
  UNKNOWN = 2,
  CONTROL = 3,
  BYTE = 6;
const vocab = []; // { piece, score, type }
const id = new Map();
const add = (piece, score, type) => {
  if (!id.has(piece)) {
    id.set(piece, vocab.length);
    vocab.push({ piece, score, type });
  }
};
add("<unk>", 0, UNKNOWN);
add("<s>", 0, CONTROL);
add("</s>", 0, CONTROL);
add("<fim_prefix>", 0, CONTROL);
add("<fim_suffix>", 0, CONTROL);
add("<fim_middle>", 0, CONTROL);
for (let b = 0; b < 256; b++) add(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`, 0, BYTE);
for (const t of corpus) add(t, -1 - vocab.length / 1000, NORMAL);
add(SPACE, -50, NORMAL);
// single ASCII characters, so that a prompt is one token a character instead of one a byte of fallback
for (let c = 0x21; c < 0x7f; c++) add(String.fromCharCode(c), -100, NORMAL);
const V = vocab.length;

// ---------------------------------------------------------------- states and the bigram table
const state = new Map(); // token id -> state, only for the tokens of the corpus
for (const t of corpus) if (!state.has(id.get(t))) state.set(id.get(t), state.size + 1);
const used = state.size + 1;
const S = Math.ceil(used / 32) * 32; // width of the model
const counts = Array.from({ length: used }, () => new Map());
const bump = (s, v, n = 1) => counts[s].set(v, (counts[s].get(v) ?? 0) + n);
for (let i = 0; i < corpus.length; i++) {
  const here = id.get(corpus[i]);
  const next = id.get(corpus[(i + 1) % corpus.length]);
  bump(state.get(here), next);
  if (corpus[i] === PARA) bump(0, next); // state 0 starts a paragraph
}
const UNSEEN = -20,
  NEVER = -40;
const output = new Float32Array(V * S).fill(NEVER);
for (const v of state.keys()) for (let s = 0; s < used; s++) output[v * S + s] = UNSEEN;
for (let s = 0; s < used; s++) {
  const total = [...counts[s].values()].reduce((a, b) => a + b, 0);
  for (const [v, n] of counts[s]) output[v * S + s] = Math.log(n / total);
}
const embedding = new Float32Array(V * S);
for (let v = 0; v < V; v++) embedding[v * S + (state.get(v) ?? 0)] = 1;

// ---------------------------------------------------------------- number formats
function f16(x) {
  // IEEE half of a finite number, round to nearest
  const f = new Float32Array([x]),
    u = new Uint32Array(f.buffer)[0];
  const sign = (u >>> 16) & 0x8000,
    exp = (u >>> 23) & 0xff;
  if (exp < 113) {
    // subnormal half or zero
    if (exp < 102) return sign;
    const mant = (u & 0x7fffff) | 0x800000,
      shift = 126 - exp;
    return sign | ((mant + (1 << (shift - 1))) >>> shift);
  }
  const h = ((exp - 112) << 10) | ((u & 0x7fffff) >>> 13);
  return sign | (h + ((u >>> 12) & 1));
}
const F32 = 0,
  F16 = 1,
  Q8_0 = 8;
function encode(type, data) {
  if (type === F32) return Buffer.from(new Float32Array(data).buffer);
  if (type === F16) {
    const b = Buffer.alloc(data.length * 2);
    for (let i = 0; i < data.length; i++) b.writeUInt16LE(f16(data[i]), i * 2);
    return b;
  }
  const blocks = data.length / 32,
    b = Buffer.alloc(blocks * 34); // Q8_0: f16 scale + 32 int8
  for (let k = 0; k < blocks; k++) {
    let max = 0;
    for (let i = 0; i < 32; i++) max = Math.max(max, Math.abs(data[k * 32 + i]));
    const d = max / 127;
    b.writeUInt16LE(f16(d), k * 34);
    for (let i = 0; i < 32; i++) b.writeInt8(d ? Math.round(data[k * 32 + i] / d) : 0, k * 34 + 2 + i);
  }
  return b;
}

// ---------------------------------------------------------------- tensors
const HEAD = 32,
  FF = 32;
const tensors = [];
const tensor = (name, dims, type, data) => tensors.push({ name, dims, type, data: encode(type, data) });
const zeros = (n) => new Float32Array(n);
const fill = (n, x) => new Float32Array(n).fill(x);
tensor("token_embd.weight", [S, V], Q8_0, embedding);
for (let l = 0; l < LAYERS; l++) {
  tensor(`blk.${l}.attn_norm.weight`, [S], F32, fill(S, 1));
  tensor(`blk.${l}.attn_q.weight`, [S, HEAD], Q8_0, zeros(S * HEAD));
  tensor(`blk.${l}.attn_k.weight`, [S, HEAD], Q8_0, zeros(S * HEAD));
  tensor(`blk.${l}.attn_v.weight`, [S, HEAD], Q8_0, zeros(S * HEAD));
  tensor(`blk.${l}.attn_output.weight`, [HEAD, S], Q8_0, zeros(S * HEAD));
  tensor(`blk.${l}.ffn_norm.weight`, [S], F32, fill(S, 1));
  tensor(`blk.${l}.ffn_gate.weight`, [S, FF], Q8_0, zeros(S * FF));
  tensor(`blk.${l}.ffn_up.weight`, [S, FF], Q8_0, zeros(S * FF));
  tensor(`blk.${l}.ffn_down.weight`, [FF, S], Q8_0, zeros(S * FF));
}
tensor("output_norm.weight", [S], F32, fill(S, 1 / Math.sqrt(S)));
tensor("output.weight", [S, V], F16, output);

// ---------------------------------------------------------------- GGUF v3
const out = [];
const u32 = (x) => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(x);
  out.push(b);
};
const i32 = (x) => {
  const b = Buffer.alloc(4);
  b.writeInt32LE(x);
  out.push(b);
};
const u64 = (x) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(x));
  out.push(b);
};
const f32 = (x) => {
  const b = Buffer.alloc(4);
  b.writeFloatLE(x);
  out.push(b);
};
const str = (s) => {
  const b = Buffer.from(s, "utf8");
  u64(b.length);
  out.push(b);
};
const T = { u32: 4, i32: 5, f32: 6, bool: 7, str: 8, arr: 9 };
const kvs = [];
const kv = (key, type, value, item) => kvs.push({ key, type, value, item });

kv("general.architecture", "str", "llama");
kv("general.name", "str", "tiny sea bigram");
kv("general.license", "str", "CC0-1.0");
kv("general.alignment", "u32", 32);
kv("general.file_type", "u32", 7);
kv("llama.vocab_size", "u32", V);
kv("llama.context_length", "u32", CONTEXT);
kv("llama.embedding_length", "u32", S);
kv("llama.block_count", "u32", LAYERS);
kv("llama.feed_forward_length", "u32", FF);
kv("llama.attention.head_count", "u32", 1);
kv("llama.attention.head_count_kv", "u32", 1);
kv("llama.attention.key_length", "u32", HEAD);
kv("llama.attention.value_length", "u32", HEAD);
kv("llama.attention.layer_norm_rms_epsilon", "f32", 1e-6);
kv("llama.rope.dimension_count", "u32", HEAD);
kv("llama.rope.freq_base", "f32", 10000);
kv("tokenizer.ggml.model", "str", "llama");
kv(
  "tokenizer.ggml.tokens",
  "arr",
  vocab.map((t) => t.piece),
  "str",
);
kv(
  "tokenizer.ggml.scores",
  "arr",
  vocab.map((t) => t.score),
  "f32",
);
kv(
  "tokenizer.ggml.token_type",
  "arr",
  vocab.map((t) => t.type),
  "i32",
);
kv("tokenizer.ggml.bos_token_id", "u32", id.get("<s>"));
kv("tokenizer.ggml.eos_token_id", "u32", id.get("</s>"));
kv("tokenizer.ggml.unknown_token_id", "u32", id.get("<unk>"));
kv("tokenizer.ggml.fim_pre_token_id", "u32", id.get("<fim_prefix>"));
kv("tokenizer.ggml.fim_suf_token_id", "u32", id.get("<fim_suffix>"));
kv("tokenizer.ggml.fim_mid_token_id", "u32", id.get("<fim_middle>"));
kv("tokenizer.ggml.add_bos_token", "bool", true);
kv("tokenizer.ggml.add_eos_token", "bool", false);
kv("tokenizer.ggml.add_space_prefix", "bool", true);
kv(
  "tokenizer.chat_template",
  "str",
  "{%- for message in messages -%}{{ message['role'] + ': ' + message['content'] + '\\n' }}{%- endfor -%}" +
    "{%- if add_generation_prompt -%}{{ 'assistant:\\n' }}{%- endif -%}",
);

out.push(Buffer.from("GGUF"));
u32(3);
u64(tensors.length);
u64(kvs.length);
const write = (type, value) =>
  ({ u32: u32, i32: i32, f32: f32, str: str, bool: (x) => out.push(Buffer.from([x ? 1 : 0])) })[type](value);
for (const { key, type, value, item } of kvs) {
  str(key);
  u32(T[type]);
  if (type === "arr") {
    u32(T[item]);
    u64(value.length);
    for (const x of value) write(item, x);
  } else write(type, value);
}
const ALIGN = 32;
const padded = (n) => Math.ceil(n / ALIGN) * ALIGN;
let offset = 0;
for (const t of tensors) {
  str(t.name);
  u32(t.dims.length);
  for (const d of t.dims) u64(d);
  u32(t.type);
  u64(offset);
  offset += padded(t.data.length);
}
const head = Buffer.concat(out);
const parts = [head, Buffer.alloc(padded(head.length) - head.length)];
for (const t of tensors) parts.push(t.data, Buffer.alloc(padded(t.data.length) - t.data.length));
const file = Buffer.concat(parts);
writeFileSync(options.out, file);
console.log(
  `${options.out}: ${file.length} bytes, ${V} tokens (${state.size} of them from the text), width ${S}, ${LAYERS} layer(s), context ${CONTEXT}`,
);
