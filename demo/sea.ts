/**
 * What the demo origin says: endless sentences about the sea, in word-sized tokens.
 *
 * The same seed gives the same text, whatever the prompt. The text holds 2-, 3- and 4-byte characters
 * (é, —, ⚓, 🐋), because offsets count bytes and a stream is most easily cut inside one of those.
 */
const SENTENCES = [
  "The sea is never quite the same twice.",
  "In the morning it is grey and slow, and the small boats lie on it like leaves on a pond.",
  "By noon the wind comes round to the west and the water turns green.",
  "The lighthouse stands on the black rock at the end of the point.",
  "The keeper climbs the stairs at dusk and trims the lamp — and the beam turns over the water until morning.",
  "He writes the names of the ships when he can read them — and when he can not, he leaves the line empty.",
  "A ship came round the point in the rain, slow and low in the water, and the harbour went quiet.",
  "Somebody put coffee on the stove in the little café behind the fish market.",
  "The storm had taken the mast and two of the boats, but the crew was whole.",
  "On the map the rocks were black, the sand was yellow, and the deep water was left white.",
  "At night the tide runs out past the lighthouse and the small boats turn to follow it.",
  "The beam turns in the fog like a slow white wing ⚓ and the horn sounds over the water.",
  "Ships pass far out, to the east with iron and to the west with grain 🐋 and the keeper sees the smoke first.",
  "The boys on the wall count the boats as they come home: one, two, three, and then a long wait, and then four.",
  "The last boat is always the one with the red sail.",
  "The sea is only the sea, the old women say, and it gives back what it wants to give back, in its own time.",
].map((sentence) => sentence.match(/[.,:]|[^\s.,:]+/g)?.map((word) => (/[.,:]/.test(word) ? word : ` ${word}`)) ?? []);

/** Token numbers below this are single bytes, so that any text can be tokenized and put together again. */
const FIRST_WORD = 256;
const WORDS = [...new Set(SENTENCES.flat())];
const NUMBER_OF_WORD = new Map(WORDS.map((word, index) => [word, FIRST_WORD + index]));

export const VOCABULARY_SIZE = FIRST_WORD + WORDS.length;

/** The words of the answer with this seed. Never ends. */
export function* seaWords(seed: number): Generator<string, never> {
  const next = random(seed);
  while (true) yield* SENTENCES[Math.floor(next() * SENTENCES.length)] ?? [];
}

export function tokenOf(word: string): number {
  return NUMBER_OF_WORD.get(word) ?? 0;
}

export function tokenize(text: string): number[] {
  return [...Buffer.from(text)];
}

export function detokenize(tokens: number[]): string {
  return Buffer.concat(
    tokens.map((token) => (token < FIRST_WORD ? Buffer.of(token) : Buffer.from(WORDS[token - FIRST_WORD] ?? ""))),
  ).toString();
}

/** mulberry32: a small generator that is the same on every machine. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
