/** What `npm run setup -- --tunnel` prints for the person to do: what only they can do, and what is for good. */
import { address, isEncrypted, vpcTarget } from "./local-server.ts";

export interface Tunnel {
  name: string;
  /** `undefined`: there is no such tunnel yet. */
  id: string | undefined;
  /** The llama-server, as this machine reaches it. */
  local: string;
  hostname: string | undefined;
  /** Where cloudflared keeps what it made. */
  home: string;
  platform: NodeJS.Platform;
}

const ID_UNKNOWN = "TUNNEL-ID";

/** The way from the Worker to the tunnel, and then the Worker. */
export function theRest(tunnel: Tunnel): string {
  return tunnel.hostname === undefined ? byVpcService(tunnel) : behindAccess(tunnel, tunnel.hostname);
}

function byVpcService({ name, id, local }: Tunnel): string {
  const told = id === undefined ? ` (${ID_UNKNOWN} is in \`cloudflared tunnel list\`)` : "";
  const origin = isEncrypted(local) ? `--origin https://${new URL(local).hostname} ` : "";
  return `Then make it a service that only your own Workers reach${told}, and deploy:

  npx wrangler vpc service create ${name} --type http ${vpcTarget(local)} --tunnel-id ${id ?? ID_UNKNOWN}
  npm run setup -- ${origin}--vpc SERVICE-ID${isEncrypted(local) ? VPC_CERTIFICATE : ""}`;
}

const VPC_CERTIFICATE = `

Workers VPC checks llama-server's certificate: a public CA, or Cloudflare's Origin CA, must have signed it for that name.
Where none did, add --cert-verification-mode disabled to the first command.`;

const TUNNEL_CERTIFICATE = `

cloudflared checks llama-server's certificate. Where no CA that this machine trusts signed it: --no-tls-verify in the
command that runs the tunnel, and in the file of its service, below \`service: https…\`, \`originRequest: { noTLSVerify: true }\`.`;

function behindAccess({ local }: Tunnel, hostname: string): string {
  return `Before anybody finds ${hostname}, close it to all but the gateway. In the dashboard, under Zero Trust:

  1. Access controls, Service credentials: make a service token; note its id and its secret.
  2. Access controls, Applications: a self-hosted application for ${hostname}, with one policy: action Service Auth,
     include that token.

Then deploy:

  CF_ACCESS_CLIENT_ID=ID CF_ACCESS_CLIENT_SECRET=SECRET npm run setup -- --origin https://${hostname}${isEncrypted(local) ? TUNNEL_CERTIFICATE : ""}`;
}

/** How the tunnel comes back after a reboot: `cloudflared service install`, with the two things that it can be given. */
export function throughReboots(tunnel: Tunnel): string {
  return `A tunnel that a terminal runs ends with it. For good: stop it, and let the system start it, now and after each reboot.
${asService(tunnel)}

\`sudo cloudflared service uninstall\` undoes that. llama-server too must start at boot: a unit of its own, or its container.`;
}

function asService(tunnel: Tunnel): string {
  const { name, hostname, home, platform } = tunnel;
  const byToken = `sudo cloudflared service install "$(cloudflared tunnel token ${name})"`;
  // What a VPC service leads to is known at Cloudflare: the tunnel's token is all that this machine needs.
  if (hostname === undefined) return `\n  ${byToken}`;
  // On macOS an installed service runs the tunnel only if it got a token (cloudflared's issue 327).
  if (platform === "darwin") {
    return `Write into /etc/cloudflared/config.yml

${ingress(tunnel, hostname)}

and then

  ${byToken}`;
  }
  const file = `${home}/.cloudflared/${name}.yml`;
  const id = tunnel.id ?? ID_UNKNOWN;
  return `Write into ${file}${tunnel.id === undefined ? ` (${ID_UNKNOWN} is in \`cloudflared tunnel list\`)` : ""}

  tunnel: ${id}
  credentials-file: ${home}/.cloudflared/${id}.json
${ingress(tunnel, hostname)}

and then

  sudo cloudflared --config ${file} service install`;
}

function ingress({ local }: Tunnel, hostname: string): string {
  return `  ingress:
    - hostname: ${hostname}
      service: ${address(local)}
    - service: http_status:404`;
}
