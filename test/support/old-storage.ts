/** The storage of an older gateway: see test/fixtures/storage-f3dd977. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const OLD_STORAGE = join(import.meta.dirname, "../fixtures/storage-f3dd977");

/** The databases by their names in the state folder, without the extension. */
export const OLD_DATABASES = {
  live: "60eaddb33ed657bf23b8106b32994683fc32c1d72b1acdb730694f91b3990ce5",
  ended: "cd2566a68171c9b6fcd9f63f43cd0f130187fce28b0c17f11a18080d9fc64132",
  metadata: "metadata",
} as const;

/** The statements that make the database. */
export function oldDump(name: keyof typeof OLD_DATABASES): string {
  return readFileSync(join(OLD_STORAGE, `${OLD_DATABASES[name]}.sql`), "utf8");
}

/** What the client of the answer that had ended got. */
export function oldAnswer(): string {
  return readFileSync(join(OLD_STORAGE, "ended.txt"), "utf8");
}
