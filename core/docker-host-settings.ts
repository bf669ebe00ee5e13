import type { z } from "zod";
import type { DiskSpace } from "./buildkitd-settings";
import { diskSpace, registryFault } from "./leaves";
import type { NodeRegistrySettings } from "./node-registries";
import { FormatError } from "./problems";
import { isRegistry, isRepositoryName, parseReference } from "./reference";
import {
    always,
    choice,
    type Fault,
    faultIn,
    flag,
    kindOf,
    late,
    leaf,
    report,
    secretText,
    text,
    whole,
} from "./schema";
import { fields, isTable, list, table } from "./schema-tables";
import { parseSize, type Size, sizeExpected } from "./size";
import { quote } from "./text";

/** A Docker daemon that runs BuildKit for us in a container; plain values. Meanings: `DockerHost` in resources/buildx-builder. */
export interface DockerHostSettings {
    image?: string;
    instance?: string;
    network?: string;
    memory?: Size;
    memorySwap?: Size | "unlimited";
    cpus?: number;
    cpuShares?: number;
    cpuset?: string;
    cgroupParent?: string;
    restart?: "no" | "on-failure" | "always" | "unless-stopped";
    env?: Record<string, string>;
    maxParallelism?: number;
    reservedSpace?: DiskSpace;
    maxUsedSpace?: DiskSpace;
    minFreeSpace?: DiskSpace;
    registries?: Record<string, NodeRegistrySettings>;
    remove?: boolean;
}

const image = text('an image such as "registry.room:5000/moby/buildkit:v0.33.1"', (value) => {
    parseReference(value);
    return value;
});

const instance = text('a name such as "ci"', (value) => {
    // buildx lowers the case of a node's name, and Docker takes no more than these in a container's.
    if (!/^[a-z][a-z0-9._-]{0,99}$/.test(value)) {
        const expected = "up to 100 small letters, digits and . _ - that start with a letter";
        throw new FormatError(`${quote(value)} is not a name for an instance`, expected);
    }
    return value;
});

const network = text('"host", "bridge", "none" or the name of a Docker network', (value) => {
    if (!/^[A-Za-z0-9][\w.-]*$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a network`, '"host", "bridge", "none" or a network\'s name');
    }
    return value;
});

const LEAST_MEMORY = "64 MiB";

export const memory = text<Size>(sizeExpected, (value) => {
    if (parseSize(value) < parseSize(LEAST_MEMORY)) {
        throw new FormatError(`${value} is too little for BuildKit`, `at least "${LEAST_MEMORY}"`);
    }
    return value as Size;
});

const memorySwap = text<Size | "unlimited">(`${sizeExpected}, or "unlimited"`, (value) => {
    if (value !== "unlimited") parseSize(value);
    return value as Size | "unlimited";
});

const cpusExpected = "a number of CPUs from 0.01 to 4096, such as 1.5";

export const cpus = leaf<number>(cpusExpected, (value): Fault | undefined => {
    if (typeof value !== "number") return { found: kindOf(value), expected: cpusExpected, wrongKind: true };
    return value >= 0.01 && value <= 4096 ? undefined : { found: `${value} is out of range`, expected: cpusExpected };
});

const cpusetExpected = 'CPUs as the kernel lists them, such as "0-3" or "0,2"';

const cpuset = text(cpusetExpected, (value) => {
    const ranges = /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(value) ? value.split(",") : undefined;
    const backwards = ranges?.some((range) => {
        const [from = 0, to = from] = range.split("-").map(Number);
        return to < from;
    });
    if (ranges === undefined || backwards) throw new FormatError(`${quote(value)} names no CPUs`, cpusetExpected);
    return value;
});

const cgroupParent = text('a control group such as "/builds"', (value) => {
    if (!/^[\w./-]+$/.test(value) || value.includes("..")) {
        throw new FormatError(`${quote(value)} is not a control group`, '"/builds", or "builds.slice" under systemd');
    }
    return value;
});

const expectedValue = "text without line breaks";

/** It ends up in `docker inspect` and on a command line, where a password has no place. */
const environmentValue = leaf<string>(expectedValue, (value): Fault | undefined => {
    if (typeof value !== "string") return { found: kindOf(value), expected: expectedValue, wrongKind: true };
    if (/[\r\n\0]/.test(value)) return { found: "several lines", expected: expectedValue };
    if (/^[a-z][a-z0-9+.-]*:\/\/[^/@]*:[^/@]*@/i.test(value)) {
        const hint = "whoever may use that Docker daemon reads it: give the proxy an access rule instead of a password";
        return { found: "an address with a password", expected: expectedValue, hint };
    }
    return undefined;
});

/** Names that are ours, or that buildx would not carry over: what stands before the first `=` is the name. */
const environmentFault = (name: string): Fault | undefined => {
    const expected = "letters, digits and _";
    if (!/^[A-Za-z_]\w*$/.test(name)) return { found: `${quote(name)} is not a variable's name`, expected };
    return name.startsWith("BUILDFLEET_")
        ? { found: "kept for buildfleet itself", expected: "another name" }
        : undefined;
};

const mirror = text("host[:port][/path]", (value) => {
    const [host = "", ...path] = value.split("/");
    if (!isRegistry(host) || (path.length > 0 && !isRepositoryName(path.join("/")))) {
        throw new FormatError(`${quote(value)} is not a mirror`, "host[:port][/path], without https://");
    }
    return value;
});

const registry = fields({
    http: flag().optional().describe("Plain HTTP"),
    ca: late(list(text("a path"), { of: "paths" }))
        .optional()
        .describe("Files of private authorities, on the machine that runs the program"),
    mirrors: late(list(mirror, { of: "mirrors" }))
        .optional()
        .describe("Registries asked first"),
    caPem: text("certificates, PEM").optional().describe("Private authorities, PEM"),
    clientCertificate: late(
        fields({ certificate: text("a certificate, PEM"), privateKey: secretText("a private key, PEM") }),
    )
        .optional()
        .describe("For a registry that asks for one"),
}).superRefine((value, ctx) => {
    if (!isTable(value) || value.http !== true) return;
    for (const setting of ["ca", "caPem", "clientCertificate"] as const) {
        if (value[setting] === undefined) continue;
        const hint = `leave out http or ${setting}`;
        report(ctx, { found: "set together with http, which has no TLS", expected: "one of them", hint }, [setting]);
    }
}, always);

/** The schema of a node's `docker`. */
export const dockerHostSettings = () =>
    fields({
        image: image.optional().describe("BuildKit's image; buildx's own when unset"),
        instance: instance.optional().describe("What tells several builders on one daemon apart"),
        network: network.optional().describe("The container's network; Docker's default when unset"),
        memory: memory.optional().describe("The most memory the builder takes"),
        memorySwap: memorySwap.optional().describe("The most memory and swap together; twice the memory when unset"),
        cpus: cpus.optional().describe("The most CPU time, in CPUs"),
        cpuShares: whole({ min: 2, max: 262_144 }).optional().describe("Weight against other containers"),
        cpuset: cpuset.optional().describe("The CPUs it runs on"),
        cgroupParent: cgroupParent.optional().describe("Control group above the container's"),
        restart: choice(["no", "on-failure", "always", "unless-stopped"])
            .optional()
            .describe("When Docker starts it again; unless-stopped when unset"),
        env: table(environmentValue, "variables", environmentFault).optional().describe("Of the daemon; never secrets"),
        maxParallelism: whole({ min: 1, max: 256 }).optional().describe("Build steps at a time"),
        reservedSpace: diskSpace.optional().describe("Cache that is never reclaimed"),
        maxUsedSpace: diskSpace.optional().describe("Cache above this is reclaimed"),
        minFreeSpace: diskSpace.optional().describe("Cache is reclaimed until so much of the disk is free"),
        registries: late(table(registry, "registries", registryFault))
            .optional()
            .describe("How BuildKit reaches registries"),
        remove: flag().optional().describe("Whether the last builder takes the container and its cache with it"),
    }).superRefine(crossChecks, always);

function crossChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || value.memorySwap === undefined) return;
    if (value.memory === undefined) {
        const hint = "set memory, too: Docker takes no limit of swap alone";
        report(ctx, { found: "set without memory", expected: "memory, too", hint }, ["memorySwap"]);
        return;
    }
    const [swap, most] = [bytesOf(value.memorySwap), bytesOf(value.memory)];
    if (swap === undefined || most === undefined || swap >= most) return;
    const hint = "it counts memory and swap together";
    report(ctx, { found: `less than memory, ${value.memory}`, expected: "at least memory", hint }, ["memorySwap"]);
}

function bytesOf(size: unknown): number | undefined {
    return typeof size !== "string" || faultIn(() => parseSize(size)) ? undefined : parseSize(size);
}

/** Where a Docker daemon is reached, as Docker's own clients have it. */
const dockerEndpointExpected = 'a Docker daemon such as "unix:///var/run/docker.sock" or "ssh://user@host"';

/**
 * Whether a text is a Docker daemon's endpoint.
 *
 * @throws FormatError where it is none.
 */
export function parseDockerEndpoint(value: string): string {
    const wrong = (hint?: string) =>
        new FormatError(`${quote(value)} is not a Docker daemon`, dockerEndpointExpected, hint);
    if (/^unix:\/\/\/[^?#\s]+$/.test(value)) return value;
    if (/^ssh:\/\/(?:[A-Za-z_][\w.-]*@)?(?:[A-Za-z0-9_][\w.-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(value))
        return value;
    if (/^tcp:\/\//.test(value)) throw wrong("Docker over TCP is not supported: use ssh://user@host");
    throw wrong(value.startsWith("/") ? `write ${quote(`unix://${value}`)}` : undefined);
}
