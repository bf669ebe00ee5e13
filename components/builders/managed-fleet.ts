import * as pulumi from "@pulumi/pulumi";
import { parseDuration } from "../../core/duration";
import { BUILDKIT_PORT } from "../../core/host/settings";
import { checkManagedFleetSettings, type ManagedFleetSettings } from "../../core/managed-fleet-settings";
import type { NodeRegistrySettings } from "../../core/node-registries";
import { parseSize } from "../../core/size";
import { BuildkitRelease } from "../../resources/buildkit-release";
import type { BuilderClient, BuilderNode } from "../../resources/buildx-builder";
import { Certificate } from "../../resources/certificate";
import { CertificateAuthority } from "../../resources/certificate-authority";
import { ManagedHost } from "../../resources/managed-host";
import { withoutOutputs } from "../plain";
import { sshTarget } from "../ssh-args";
import { applyTransform } from "../transform";
import type { Fleet } from "./fleet";
import type { ManagedFleetArgs } from "./managed-args";

/** A disk fuller than this is pruned, whatever BuildKit counts. */
const PRUNE_ABOVE_PERCENT = 85;

/**
 * Builders on machines that somebody else racked: each host gets BuildKit, its settings and a certificate over SSH, and lets in the
 * fleet's clients only. What changes waits until no build runs; what somebody changed by hand is seen and mended; a host that is
 * taken out of the fleet is left as it was before.
 *
 * ```ts
 * const fleet = new ManagedFleet("room", {
 *     hosts: {
 *         "arm-1": { ssh: { host: "arm-1.room", hostKey: "ssh-ed25519 AAAA…" }, architecture: "arm64" },
 *         "x86-1": { ssh: { host: "x86-1.room", hostKey: "ssh-ed25519 AAAA…" }, architecture: "amd64" },
 *     },
 *     registries: registry.nodeSettings,
 * });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class ManagedFleet extends pulumi.ComponentResource implements Fleet {
    readonly nodes: pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
    readonly client: pulumi.Output<pulumi.Unwrap<BuilderClient>>;
    readonly registries: pulumi.Output<Record<string, NodeRegistrySettings>>;

    constructor(name: string, args: ManagedFleetArgs, options?: pulumi.ComponentResourceOptions) {
        const subject = `ManagedFleet ${JSON.stringify(name)}`;
        const { transform = {}, ...plain } = args;
        const settings = checkManagedFleetSettings(subject, withoutOutputs(plain));
        super("buildfleet:index:ManagedFleet", name, {}, options);
        const child = { parent: this };
        const authority = new CertificateAuthority(`${name}-ca`, { commonName: `${name} builders` }, child);
        const signer = { certificate: authority.certificate, privateKey: authority.privateKey };
        const client = new Certificate(
            `${name}-client`,
            { authority: signer, commonName: `${name} client`, usage: "client" },
            child,
        );
        const artifacts = this.archives(name, args, settings);
        this.registries = pulumi.output(args.registries ?? {});
        const nodes = Object.entries(settings.hosts).map(([node, host]) => {
            const given = args.hosts[node];
            if (given === undefined) throw new Error(`the host ${node} has no arguments`);
            const logical = `${name}-${node}`;
            const certificate = new Certificate(
                `${logical}-cert`,
                applyTransform(
                    transform.certificate,
                    { authority: signer, commonName: node, usage: "server", dnsNames: [node] },
                    logical,
                ),
                child,
            );
            const target = sshTarget(given.ssh);
            const managed = new ManagedHost(
                logical,
                applyTransform(
                    transform.host,
                    {
                        ssh: target,
                        host: given.ssh.host,
                        owner: `${pulumi.getProject()}/${pulumi.getStack()}/${name}/${node}`,
                        settings: {
                            ...hostSettings(name, node, host, settings),
                            buildkit: {
                                version: settings.buildkit.version,
                                artifact: artifacts.apply((all) => archiveOf(all, host.architecture)),
                            },
                        },
                        tls: {
                            certificate: certificate.certificate,
                            privateKey: certificate.privateKey,
                            ca: authority.trustBundle,
                        },
                        registries: this.registries,
                    },
                    logical,
                ),
                child,
            );
            const address = pulumi.output(given.address ?? given.ssh.host);
            return {
                name: node,
                // Known once the machine is a builder: nobody builds on one that is not.
                endpoint: pulumi.all([address, managed.installation]).apply(([at]) => endpointOf(at, host.port)),
                platforms: host.platforms ?? [`linux/${host.architecture}`],
                serverName: node,
                ...(host.maxBuilds === undefined ? {} : { maxBuilds: host.maxBuilds }),
            };
        });
        this.nodes = pulumi.output(nodes) as pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
        this.client = pulumi.output({
            ca: authority.trustBundle,
            certificate: client.certificate,
            privateKey: client.privateKey,
        });
        this.registerOutputs({ nodes: this.nodes });
    }

    /** BuildKit's archives: the mirror's, or GitHub's with the checksums that GitHub tells. */
    private archives(name: string, args: ManagedFleetArgs, settings: ManagedFleetSettings) {
        const given = args.buildkit?.artifacts;
        if (given !== undefined) return pulumi.output(given);
        const architectures = [...new Set(Object.values(settings.hosts).map(({ architecture }) => architecture))];
        const logical = `${name}-buildkit`;
        const release = { version: settings.buildkit.version, architectures };
        const release_ = applyTransform(args.transform?.buildkitRelease, release, logical);
        return new BuildkitRelease(logical, release_, { parent: this }).artifacts;
    }
}

type Archives = Record<string, { url: string; sha256: string }>;

function archiveOf(archives: Archives, architecture: string): { url: string; sha256: string } {
    const archive = archives[architecture];
    if (!archive) throw new pulumi.RunError(`buildkit.artifacts has nothing for ${architecture}`);
    return archive;
}

const endpointOf = (address: string, port = BUILDKIT_PORT) =>
    `tcp://${address.includes(":") ? `[${address}]` : address}:${port}`;

function hostSettings(
    fleet: string,
    node: string,
    host: ManagedFleetSettings["hosts"][string],
    { gc, drain, buildNetwork }: ManagedFleetSettings,
) {
    const { memory, cpus, instance, port, rootless } = host;
    const limits = {
        ...(memory === undefined ? {} : { memoryBytes: parseSize(memory) }),
        ...(cpus === undefined ? {} : { cpus }),
    };
    return {
        fleet,
        node,
        architecture: host.architecture,
        gc,
        pruneAbovePercent: PRUNE_ABOVE_PERCENT,
        maxParallelism: host.maxParallelism,
        bridgeSubnet: host.buildNetwork ?? buildNetwork,
        drainTimeoutSeconds: Math.ceil(parseDuration(drain.timeout) / 1000),
        ...(Object.keys(limits).length > 0 ? { limits } : {}),
        // What is not set is not there: a field more would be a change of every host that there is.
        ...(instance === undefined ? {} : { instance }),
        ...(port === undefined || port === BUILDKIT_PORT ? {} : { port }),
        ...(rootless ? { rootless } : {}),
    };
}
