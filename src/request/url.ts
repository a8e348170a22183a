/**
 * The one view of a request's URL: what is matched is what is forwarded. A request's own text of it is not used anywhere
 * else, because the runtime puts the client's Host header into it as it came, and every reader of such a text draws the
 * line between host and path elsewhere: with `Host: a\\slots?x=` the URL standard reads `/slots`.
 */
import { badRequest } from "../errors.ts";

/** A name, an IPv4 address or a bracketed IPv6 one, and a port: nothing that could end the host too early. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/;

const urls = new WeakMap<Request, URL>();

/** Throws 400 when the host is none. */
export function urlOf(request: Request): URL {
  let url = urls.get(request);
  if (!url) {
    url = parse(request);
    urls.set(request, url);
  }
  return url;
}

/** For the router, which must not throw: a URL that is none leads nowhere, and `urlOf` says why. */
export function pathOf(request: Request): string {
  try {
    return urlOf(request).pathname;
  } catch {
    // The first middleware asks again, where an error becomes an answer.
    return "/";
  }
}

function parse(request: Request): URL {
  const [, host = ""] = /^https?:\/\/([^/?#]*)/.exec(request.url) ?? [];
  const header = request.headers.get("Host") ?? host;
  if (!HOST.test(host) || !HOST.test(header) || !URL.canParse(request.url)) {
    throw badRequest("The request's Host is no host name");
  }
  return new URL(request.url);
}
