import * as pulumi from "@pulumi/pulumi";
import type { NodeRegistrySettings } from "../../core/node-registries";
import { checkRegistrySettings } from "../../core/registry-settings";
import { withoutOutputs } from "../plain";
import type { ClientCertificateArgs, RegistryConnectionArgs, Repository } from "./repository";

/** One registry, and all that a client of it has to know. */
export interface RegistryArgs {
    /** `host[:port]`, the first part of every image's name: `registry.room:5000`. */
    address: pulumi.Input<string>;
    /** Plain HTTP; default false. */
    plainHttp?: pulumi.Input<boolean>;
    /** PEM of the private authority that signed the registry's certificate, and its token service's; default the system's. */
    ca?: pulumi.Input<string>;
    /** For a registry that asks for one; default none. */
    clientCertificate?: pulumi.Input<ClientCertificateArgs>;
    /** With `password`: a user, a Harbor robot (`robot$ci`), a Nexus user token; default what Docker's own configuration says. */
    username?: pulumi.Input<string>;
    /** A secret: a password or a token that stands for one. */
    password?: pulumi.Input<string>;
    /**
     * What nodes ask first, in this order: `host[:port][/path]` over HTTPS with the system's authorities, or a connection that
     * says how that mirror is reached; its password goes along with the builds of images in this registry. Only nodes read from
     * mirrors, and they push to none.
     */
    mirrors?: (pulumi.Input<string> | RegistryConnection)[];
    /** What every repository in it starts with: a Harbor project, a repository of a Nexus with path-based routing. */
    pathPrefix?: pulumi.Input<string>;
}

/**
 * A registry that somebody runs: Docker Registry (distribution), Harbor, Nexus, or anything that speaks the OCI distribution
 * specification. Said once, it reaches whoever talks to it: `repository` has it for the build's push and for our own client,
 * cosign, syft and scanners; `nodeSettings` has it for the nodes of a fleet. It declares no resource.
 *
 * ```ts
 * const registry = new RegistryConnection("room", {
 *     address: "registry.room:5000",
 *     ca: readFileSync("room-ca.pem", "utf8"),
 *     username: "ci",
 *     password: config.requireSecret("registryPassword"),
 * });
 * const fleet = new LocalFleet("builders", { registries: registry.nodeSettings });
 * new MultiPlatformImage("app", { fleet, repository: registry.repository("team/app"), … });
 * ```
 */
export class RegistryConnection {
    /** `host[:port]` */
    readonly address: pulumi.Output<string>;
    /** As images and mirrors take it. Password and private key are secrets. */
    readonly connection: RegistryConnectionArgs;
    /** How nodes reach it and its mirrors, by `host[:port]`: for a fleet's `registries`. */
    readonly nodeSettings: pulumi.Output<Record<string, NodeRegistrySettings>>;
    /** The address, and the prefix where there is one. */
    readonly #root: pulumi.Output<string>;

    /**
     * @param name for messages.
     * @throws SettingsError with every problem at once.
     */
    constructor(name: string, args: RegistryArgs) {
        const mirrors = args.mirrors ?? [];
        const plainMirrors = mirrors.map((mirror) => (isConnection(mirror) ? pulumi.output("") : mirror));
        checkRegistrySettings(
            `RegistryConnection ${JSON.stringify(name)}`,
            withoutOutputs({ ...args, ...(args.mirrors ? { mirrors: plainMirrors } : {}) }),
        );
        const { address, mirrors: _, pathPrefix, ...connection } = args;
        this.address = pulumi.output(address);
        this.#root = pathPrefix === undefined ? this.address : pulumi.interpolate`${address}/${pathPrefix}`;
        this.connection = { ...withSecrets(connection), ...passwordsOf(mirrors.filter(isConnection)) };
        this.nodeSettings = pulumi
            .all([
                this.address,
                this.connection.plainHttp,
                this.connection.ca,
                this.connection.clientCertificate,
                mirrors.map((mirror) => (isConnection(mirror) ? mirror.#root : mirror)),
                mirrors.filter(isConnection).map((mirror) => mirror.nodeSettings),
            ])
            .apply(([host, plainHttp, ca, clientCertificate, addresses, ofMirrors]) => ({
                ...merged(ofMirrors),
                [host]: nodeRegistry(plainHttp, ca, clientCertificate, addresses),
            }));
    }

    /** {@link nodeSettings} of several: for a fleet whose nodes reach more than one registry. */
    static nodeSettingsOf(connections: RegistryConnection[]): pulumi.Output<Record<string, NodeRegistrySettings>> {
        return pulumi.all(connections.map(({ nodeSettings }) => nodeSettings)).apply(merged);
    }

    /** A repository in it: `team/app` is `registry.room:5000/team/app`, or after the prefix where there is one. */
    repository(path: string): Repository {
        return { name: pulumi.interpolate`${this.#root}/${path}`, connection: this.connection, check: true };
    }
}

function nodeRegistry(
    plainHttp: boolean | undefined,
    ca: string | undefined,
    clientCertificate: NodeRegistrySettings["clientCertificate"],
    mirrors: string[],
): NodeRegistrySettings {
    return {
        // Said in either case: BuildKit takes loopback addresses for plain HTTP.
        http: plainHttp ?? false,
        ...(ca === undefined ? {} : { caPem: ca }),
        ...(clientCertificate === undefined ? {} : { clientCertificate }),
        ...(mirrors.length > 0 ? { mirrors } : {}),
    };
}

const merged = (all: Record<string, NodeRegistrySettings>[]): Record<string, NodeRegistrySettings> =>
    Object.assign({}, ...all);

const isConnection = (mirror: pulumi.Input<string> | RegistryConnection): mirror is RegistryConnection =>
    mirror instanceof RegistryConnection;

function passwordsOf(mirrors: RegistryConnection[]): Pick<RegistryConnectionArgs, "mirrorCredentials"> {
    const credentials = mirrors.flatMap(({ address, connection: { username, password } }) =>
        username === undefined || password === undefined ? [] : [{ address, username, password }],
    );
    return credentials.length === 0 ? {} : { mirrorCredentials: pulumi.secret(credentials) };
}

function withSecrets(connection: RegistryConnectionArgs): RegistryConnectionArgs {
    const { password, clientCertificate } = connection;
    return {
        ...connection,
        ...(password === undefined ? {} : { password: pulumi.secret(password) }),
        ...(clientCertificate === undefined ? {} : { clientCertificate: pulumi.secret(clientCertificate) }),
    };
}
