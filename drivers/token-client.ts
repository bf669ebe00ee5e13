import { BlockList, isIP } from "node:net";
import { connect } from "node:tls";
import type { RegistryConnection } from "../core/registry-connection";
import { systemAuthorities } from "./authorities";

/** As Go reads a flag (strconv.ParseBool). */
const isTrue = (text: string | undefined) => /^(?:1|t|T|TRUE|true|True)$/.test(text ?? "");

const PRIVATE = new BlockList();
for (const [network, bits] of [
    ["0.0.0.0", 32],
    ["10.0.0.0", 8],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["172.16.0.0", 12],
    ["192.168.0.0", 16],
] as const) {
    PRIVATE.addSubnet(network, bits, "ipv4");
}
for (const [network, bits] of [
    ["::", 127],
    ["fc00::", 7],
    ["fe80::", 10],
] as const) {
    PRIVATE.addSubnet(network, bits, "ipv6");
}

const hostOf = ({ hostname }: URL) => hostname.replace(/^\[(.*)\]$/, "$1");

/**
 * Why cosign and syft would not ask a registry's token service: at a private address, unless it is the registry's own, they take it
 * for a trap (google/go-containerregistry: pkg/v1/remote/transport/bearer.go, validateRealmURL).
 */
export function toolTokenProblem(registry: string, service: URL): { reason: string; next: string } | undefined {
    const host = hostOf(service);
    const family = isIP(host);
    if (service.host === registry || family === 0) return undefined;
    if (!PRIVATE.check(host, family === 4 ? "ipv4" : "ipv6")) return undefined;
    return {
        reason: `its token service is at ${host}, and cosign and syft ask none at a private address`,
        next: "let the registry name its token service (realm) by a host name, or by the registry's own host and port",
    };
}

/**
 * Why the client of a build could not get a token from a registry's token service: buildx, in docker-build's process too, asks it
 * in the node's place, with the system's authorities and no client certificate (moby/buildkit: session/auth/authprovider).
 * `BUILDKIT_NO_CLIENT_TOKEN` leaves it to the node, which was told what the registry needs.
 */
export async function clientTokenProblem(
    registry: string,
    service: URL,
    { ca, clientCertificate }: RegistryConnection,
): Promise<{ reason: string; next: string } | undefined> {
    if (service.protocol !== "https:" || isTrue(process.env.BUILDKIT_NO_CLIENT_TOKEN)) return undefined;
    const next =
        "run Pulumi with BUILDKIT_NO_CLIENT_TOKEN=1 in its environment, and the nodes ask for the token themselves";
    if (clientCertificate && service.host === registry) {
        const reason = `builds ask ${service.host} for a token without the client certificate that it wants`;
        return { reason, next };
    }
    const authorities = systemAuthorities();
    if (ca === undefined || authorities === undefined || (await isTrusted(service, authorities))) return undefined;
    return {
        reason: `builds ask ${service.host} for a token and know only the system's authorities, which did not sign its certificate`,
        next: `${next}; or add the authority to the system's (SSL_CERT_FILE)`,
    };
}

/** False only where the certificate is what is wrong; that nobody answers shows itself elsewhere. */
function isTrusted(service: URL, ca: string): Promise<boolean> {
    const host = hostOf(service);
    return new Promise((resolve) => {
        const servername = isIP(host) ? "" : host;
        const socket = connect({ host, port: Number(service.port || 443), servername, ca, rejectUnauthorized: false });
        socket.setTimeout(10_000, () => socket.destroy());
        socket.once("secureConnect", () => {
            resolve(socket.authorized);
            socket.destroy();
        });
        socket.once("error", () => socket.destroy());
        socket.once("close", () => resolve(true));
    });
}
