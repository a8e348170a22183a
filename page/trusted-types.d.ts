/** What the DOM's published types do not have yet: only what page/main.ts uses of it. */
interface Window {
  /** In Chromium; what `createScriptURL` makes is taken where a script's address is, as if it were text. */
  readonly trustedTypes?: {
    createPolicy(
      name: string,
      rules: { createScriptURL(text: string): string },
    ): { createScriptURL(text: string): string };
  };
}
