import { isIP } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { parseDuration } from "../../core/duration";
import { checkRegistryServerSettings, type RegistryServerArguments } from "../../core/registry-server/settings";
import { Certificate } from "../../resources/certificate";
import { CertificateAuthority } from "../../resources/certificate-authority";
import { type RegistryArtifactArgs, RegistryService, type RegistryServiceArgs } from "../../resources/registry-service";
import { withoutOutputs } from "../plain";
import { type SshArgs, sshTarget } from "../ssh-args";
import { applyTransform, type Transform } from "../transform";
import type { NodeRegistry } from "./node-registry";
import { RegistryConnection } from "./registry-connection";
import type { Repository } from "./repository";

/** A certificate that somebody else has issued. */
export interface RegistryTlsArgs {
    /** PEM, with those between it and its authority. */
    certificate: pulumi.Input<string>;
    /** PEM, a secret. */
    privateKey: pulumi.Input<string>;
    /** PEM of its authority, for clients; default the system's. */
    ca?: pulumi.Input<string>;
}

/** When the registry frees what no manifest refers to. Every manifest stays, tagged or not. */
export interface GarbageCollectionArgs {
    /** As systemd.time(7) has calendar events; default `Sun 03:17`. The registry is read-only meanwhile. */
    schedule?: string;
    /** It begins when nothing was pushed for so long: `"2 hours"`; from a minute to a day, default an hour. */
    quiet?: string;
}

export interface RegistryServerArgs {
    /** The host: systemd, bash, curl; its root, or a user who becomes root by sudo. */
    ssh: SshArgs;
    /** What everybody calls it by, `host:port`, and part of every image's name; the host listens on this port. */
    address: string;
    /** The registry's program (CNCF distribution) for the host's architecture; the host fetches it. */
    artifact: RegistryArtifactArgs;
    /** No TLS; default false. */
    plainHttp?: boolean;
    /** Its certificate; default one of an authority of its own, renewed by itself, which `repository` and `nodeSettings` trust. */
    tls?: RegistryTlsArgs;
    /** Passwords by user, secrets of 8 to 72 bytes; default none: everybody may pull and push. */
    users?: Record<string, pulumi.Input<string>>;
    /** Whose password `repository` gives to builds; default the first of `users`. */
    client?: string;
    /** Folder of the images on the host; default `/var/lib/buildfleet-registry/<name>`. */
    storage?: string;
    /** Default: Sundays at 03:17. `false` switches it off. */
    garbageCollection?: GarbageCollectionArgs | false;
    /** Whether the images are deleted with it; default false. */
    deleteData?: boolean;
    transform?: RegistryServerTransform;
}

/** Last word on a child's arguments. */
export interface RegistryServerTransform {
    service?: Transform<RegistryServiceArgs>;
}

/**
 * A registry (CNCF distribution) on a host that is reached over SSH, for a machine room that has none: a systemd service with a user
 * of its own, deletion on, garbage collected on a timer. What somebody changed on the host is seen by the next `up`, and mended.
 *
 * ```ts
 * const registry = new RegistryServer("room", {
 *     ssh: { host: "store.room" },
 *     address: "store.room:5000",
 *     artifact: { url: "https://mirror.room/registry_3.1.2_linux_amd64.tar.gz", sha256: "…" },
 *     users: { ci: config.requireSecret("registryPassword") },
 * });
 * new MultiPlatformImage("app", { fleet, repository: registry.repository("team/app"), … });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class RegistryServer extends pulumi.ComponentResource {
    /** `host:port`; known when it answers. */
    readonly address: pulumi.Output<string>;
    /** PEM of its authority; empty for plain HTTP, and where the system's authorities do. */
    readonly ca: pulumi.Output<string>;
    /** How nodes reach it: for a fleet's `registries`. */
    readonly nodeSettings: pulumi.Output<Record<string, pulumi.Unwrap<NodeRegistry>>>;
    readonly #connection: RegistryConnection;

    constructor(name: string, args: RegistryServerArgs, options?: pulumi.ComponentResourceOptions) {
        const settings = resolve(name, args);
        super("buildfleet:index:RegistryServer", name, {}, options);
        const child = { parent: this };
        const port = Number(args.address.slice(args.address.lastIndexOf(":") + 1));
        const { garbageCollection } = settings;
        const tls = args.plainHttp ? undefined : (args.tls ?? ownCertificate(name, args.address, child));
        const service = new RegistryService(
            `${name}-service`,
            applyTransform(args.transform?.service, {
                ssh: sshTarget(args.ssh),
                name: slug(name),
                owner: `${pulumi.getProject()}/${pulumi.getStack()}/${name}`,
                port,
                artifact: { url: args.artifact.url, sha256: args.artifact.sha256 },
                storage: settings.storage ?? `/var/lib/buildfleet-registry/${slug(name)}`,
                ...(tls ? { tls: { certificate: tls.certificate, privateKey: tls.privateKey } } : {}),
                users: args.users ?? {},
                ...(garbageCollection === false
                    ? {}
                    : {
                          garbageCollection: {
                              schedule: garbageCollection.schedule,
                              quietSeconds: Math.round(parseDuration(garbageCollection.quiet) / 1000),
                          },
                      }),
                removeData: settings.deleteData,
            }),
            child,
        );
        // The name is known in previews; whoever uses it waits for the service.
        this.address = pulumi.interpolate`${args.address.slice(0, args.address.lastIndexOf(":"))}:${service.port}`;
        this.ca = pulumi.output(tls?.ca ?? "");
        const user = args.client ?? Object.keys(args.users ?? {})[0];
        const password = user === undefined ? undefined : args.users?.[user];
        const access = {
            ...(args.plainHttp ? { plainHttp: true } : {}),
            ...(tls?.ca === undefined ? {} : { ca: tls.ca }),
        };
        this.#connection = new RegistryConnection(name, {
            address: this.address,
            ...access,
            ...(user === undefined || password === undefined ? {} : { username: user, password }),
        });
        // The nodes' configuration only needs the name: they start while the registry does.
        this.nodeSettings = new RegistryConnection(name, { address: args.address, ...access }).nodeSettings;
        this.registerOutputs({ address: this.address, ca: this.ca });
    }

    /** A repository in it: `team/app` is `registry.room:5000/team/app`. */
    repository(path: string): Repository {
        return this.#connection.repository(path);
    }
}

function resolve(name: string, { transform, ...args }: RegistryServerArgs): RegistryServerArguments {
    const subject = `RegistryServer ${JSON.stringify(name)}`;
    return checkRegistryServerSettings(subject, withoutOutputs(args)) as RegistryServerArguments;
}

/** An authority and a certificate for the address, and what clients trust. */
function ownCertificate(name: string, address: string, child: pulumi.CustomResourceOptions): RegistryTlsArgs {
    const authority = new CertificateAuthority(`${name}-ca`, { commonName: `${name} registry` }, child);
    const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
    const { certificate, privateKey } = new Certificate(
        `${name}-certificate`,
        {
            authority: { certificate: authority.certificate, privateKey: authority.privateKey },
            commonName: host,
            usage: "server",
            ...(isIP(host) ? { ipAddresses: [host] } : { dnsNames: [host] }),
        },
        child,
    );
    return { certificate, privateKey, ca: authority.trustBundle };
}

/** A name for units and folders; those of two components that differ in other characters only are the same. */
const slug = (name: string) =>
    name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "") || "registry";
