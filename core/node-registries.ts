import type { BuildkitdRegistry } from "./buildkitd-settings";
import type { ClientCertificate } from "./registry-connection";

/** How a node reaches one registry. Plain values. */
export interface NodeRegistrySettings {
    /** Plain HTTP; default false. */
    http?: boolean;
    /** Files on the node: private authorities, PEM; default the system's. */
    ca?: string[];
    /** `host[:port][/path]` of registries asked first; default none. */
    mirrors?: string[];
    /** PEM of private authorities, which whoever manages the node writes there; besides `ca`. */
    caPem?: string;
    /** Written there, too. */
    clientCertificate?: ClientCertificate;
}

/** One file that `buildkitd.toml` names. */
export interface NodeRegistryFile {
    /** `registry-1-ca.pem`, without folder. */
    name: string;
    /** PEM. */
    content: string;
    /** It is a private key: for root alone, and a secret. */
    secret: boolean;
}

/**
 * The registries of a node's `buildkitd.toml`, and the files that have to be in `folder` for them. Names count the registries in
 * the order of their hosts, so the same settings have the same files; a host and its port are no safe file name.
 *
 * @param folder absolute on the node, or what stands for it.
 */
export function nodeRegistries(
    registries: Record<string, NodeRegistrySettings>,
    folder: string,
): { registry: Record<string, BuildkitdRegistry>; files: NodeRegistryFile[] } {
    const files: NodeRegistryFile[] = [];
    const registry: Record<string, BuildkitdRegistry> = {};
    const hosts = Object.keys(registries).sort();
    for (const [index, host] of hosts.entries()) {
        const { caPem, clientCertificate, ...block } = registries[host] as NodeRegistrySettings;
        const write = (suffix: string, content: string, secret = false): string => {
            const name = `registry-${index + 1}-${suffix}.pem`;
            files.push({ name, content, secret });
            return `${folder}/${name}`;
        };
        registry[host] = {
            ...block,
            ...(caPem === undefined ? {} : { ca: [...(block.ca ?? []), write("ca", caPem)] }),
            ...(clientCertificate === undefined
                ? {}
                : {
                      keypair: [
                          {
                              key: write("key", clientCertificate.privateKey, true),
                              cert: write("cert", clientCertificate.certificate),
                          },
                      ],
                  }),
        };
    }
    return { registry, files };
}

/** What was said of a registry, without the certificates themselves. */
export interface RegistryFacts {
    /** Plain HTTP; the other side's own default when unset. */
    http?: boolean;
    /** There is a private authority. */
    ca: boolean;
    clientCertificate: boolean;
}

/** What a node was told. */
export function factsOf({ http, ca = [], caPem, clientCertificate }: NodeRegistrySettings = {}): RegistryFacts {
    return {
        ...(http === undefined ? {} : { http }),
        ca: caPem !== undefined || ca.length > 0,
        clientCertificate: clientCertificate !== undefined,
    };
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/;

/**
 * How a node would fail to reach a registry that its clients reach; nothing where it was told the same. Whether the
 * authorities are the same ones can't be seen from here: `ca` may name files on the node.
 *
 * @param who the node, for the message.
 */
export function nodeMismatch(
    host: string,
    clients: RegistryFacts,
    node: RegistryFacts,
    who = "every node of the fleet",
): string | undefined {
    // BuildKit speaks plain HTTP to loopback addresses unless it is told otherwise (util/resolver, fillInsecureOpts).
    const nodeHttp = node.http ?? LOOPBACK.test(host);
    if ((clients.http ?? false) !== nodeHttp) {
        const [nodes, others] = nodeHttp ? ["plain HTTP", "HTTPS"] : ["HTTPS", "plain HTTP"];
        return `${who} would speak ${nodes} to ${host}, and all others ${others}`;
    }
    if (clients.ca && !node.ca) return `${who} does not know the private authority of ${host}`;
    if (clients.clientCertificate && !node.clientCertificate) {
        return `${who} has no client certificate for ${host}`;
    }
    return undefined;
}
