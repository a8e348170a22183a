/** The text that an event stream says, read without any SDK. */

/** The parts of chat's and messages' events that carry text. */
export interface TextEvent {
  choices?: { delta?: { content?: string | null } }[];
  delta?: { text?: string };
}

export function saidIn(stream: Buffer | string): string {
  const lines = stream.toString().split("\n");
  const events = lines.flatMap((line): TextEvent[] => (line.startsWith("data: {") ? [JSON.parse(line.slice(6))] : []));
  return events.map(({ choices, delta }) => choices?.[0]?.delta?.content ?? delta?.text ?? "").join("");
}
