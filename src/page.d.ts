/** The page's files, as tools/page.ts writes them before the Worker is bundled. */
declare module "holdfast-page" {
  export interface PageFile {
    readonly type: string;
    readonly cache: string;
    readonly etag: string;
    readonly body: string | Uint8Array<ArrayBuffer>;
  }
  /** By path. */
  export const files: Readonly<Record<string, PageFile>>;
}
