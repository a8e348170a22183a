/** What this app knows of one request: shared by all that work on it, for as long as its answer may be wanted. */

/** The headers with the request's credentials: what a resume repeats. */
export type Credentials = Readonly<Record<string, string>>;

export interface Asked {
  readonly id: string;
  readonly credentials: Credentials;
  /** The `Idempotency-Key`; none when the answer was only attached to. */
  key?: string | undefined;
  /** The key is from storage: the page before a reload used it, perhaps for another request. */
  isKeyStored?: boolean;
  /** The request's body until it was accepted, to know an SDK's own retry by; not stored. */
  body?: RequestInit["body"];
  session?: string | undefined;
  /** The app asked for its stop: it is not to be asked again, and its end is no error. */
  isStopped?: boolean;
  /** Its body, if it waits, is to look again. */
  wake?: () => void;
  /** A stop on its way: a request behind it must not be what it hits. */
  stopping?: Promise<unknown>;
}
