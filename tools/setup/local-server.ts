/**
 * The llama-server as the machine with the GPU reaches it, in the words of cloudflared and wrangler.
 *
 *   cloudflared   --url and `service:`, which have no path: a request's own path is passed on
 *   wrangler      a VPC service, which has a host and a port for one scheme
 */

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;

/** Why a tunnel cannot lead to this address, if so. */
export function localProblem(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || DEFAULT_PORTS[url.protocol] === undefined) {
    return `must be a URL like http://127.0.0.1:8080 or https://llama.lan, got "${value}"`;
  }
  if (url.username !== "" || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return `must be no more than http(s)://HOST:PORT, since a tunnel passes the request's own path on; got "${value}"`;
  }
  return undefined;
}

/** With its port, also where the scheme tells it: 80 for http, 443 for https. */
export function address(local: string): string {
  const { protocol, hostname, port } = new URL(local);
  return `${protocol}//${hostname}:${port || DEFAULT_PORTS[protocol]}`;
}

export function isEncrypted(local: string): boolean {
  return new URL(local).protocol === "https:";
}

/** Where a VPC service leads: of the two schemes only this one, so that a request of the other fails at once. */
export function vpcTarget(local: string): string {
  const { protocol, hostname, port } = new URL(local);
  const scheme = protocol.slice(0, -1);
  return `--${scheme}-port ${port || DEFAULT_PORTS[protocol]} ${hostOption(hostname)}`;
}

function hostOption(hostname: string): string {
  // cloudflared would ask a name server for it.
  if (hostname === "localhost") return "--ipv4 127.0.0.1";
  if (IPV4.test(hostname)) return `--ipv4 ${hostname}`;
  return hostname.startsWith("[") ? `--ipv6 ${hostname.slice(1, -1)}` : `--hostname ${hostname}`;
}
