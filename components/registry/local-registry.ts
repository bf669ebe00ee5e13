import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { LocalProcess, type LocalProcessArgs } from "../../resources/local-process";
import { applyTransform, type Transform } from "../transform";
import type { NodeRegistry } from "./node-registry";
import type { Repository } from "./repository";

export interface LocalRegistryArgs {
    /** Port on 127.0.0.1, part of every image's name; default 5000. */
    port?: number;
    /** Folder that holds the images, kept on delete, relative to the stack's program; default `.buildfleet/registry`. */
    storage?: string;
    /** Folder for configuration and log; default `.buildfleet/registry-<name>`. */
    folder?: string;
    transform?: LocalRegistryTransform;
}

/** Last word on a child's arguments. */
export interface LocalRegistryTransform {
    process?: Transform<LocalProcessArgs>;
}

/** A registry on this machine (CNCF distribution), plain HTTP on the loopback interface. */
export class LocalRegistry extends pulumi.ComponentResource {
    /** `127.0.0.1:5000`; known when it answers. */
    readonly address: pulumi.Output<string>;
    /** How nodes reach it: for `LocalFleet`'s `registries`. */
    readonly nodeSettings: pulumi.Output<Record<string, pulumi.Unwrap<NodeRegistry>>>;

    constructor(name: string, args: LocalRegistryArgs = {}, options?: pulumi.ComponentResourceOptions) {
        super("buildfleet:index:LocalRegistry", name, {}, options);
        const port = args.port ?? 5000;
        const process: LocalProcessArgs = {
            command: "registry",
            arguments: ["serve", "{folder}/config.yml"],
            folder: args.folder ?? `.buildfleet/registry-${name}`,
            dataFolder: args.storage ?? ".buildfleet/registry",
            keepData: true,
            files: { "config.yml": configuration() },
            port,
            environment: { OTEL_TRACES_EXPORTER: "none" },
            readinessPath: "/v2/",
        };
        const created = new LocalProcess(name, applyTransform(args.transform?.process, process), { parent: this });
        // The port is an input, so the address is known in previews, too; and it depends on the process.
        this.address = pulumi.interpolate`127.0.0.1:${created.port}`;
        // The nodes' configuration only needs the name: they start while the registry does.
        this.nodeSettings = pulumi.output({ [`127.0.0.1:${port}`]: { http: true } });
        this.registerOutputs({ address: this.address });
    }

    /** A repository in it: `hello` is `127.0.0.1:5000/hello`. */
    repository(path: string): Repository {
        return { name: pulumi.interpolate`${this.address}/${path}`, connection: { plainHttp: true } };
    }
}

/** distribution's configuration (docs/content/about/configuration.md). */
function configuration(): string {
    return stringify({
        version: 0.1,
        log: { level: "warn", accesslog: { disabled: true } },
        storage: {
            filesystem: { rootdirectory: "{data}" },
            delete: { enabled: true },
        },
        http: { addr: "127.0.0.1:{port}" },
    });
}
