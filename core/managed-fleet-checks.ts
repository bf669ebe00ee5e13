import type { z } from "zod";
import { type Cidr, overlap, parseCidr } from "./cidr";
import { ROOTLESS_PREFIX } from "./host/rootless";
import { BUILDKIT_PORT } from "./host/settings";
import { report } from "./schema";
import { isTable } from "./schema-tables";

/** Of a fleet's build steps; RFC 2544 keeps it for tests of networks, so that hardly anybody has machines there. */
export const BUILD_NETWORK = "198.18.0.0/16";

type Context = z.core.$RefinementCtx<unknown>;

/** One builder, as far as it could be read. */
interface Builder {
    name: string;
    /** Two SSH ports of one address are two machines behind a gateway. */
    machine: string | undefined;
    instance: unknown;
    port: unknown;
    /** Undefined where nobody else sees it, or where it could not be read. */
    network: Cidr | undefined;
}

/** What only shows when a fleet's hosts are seen together: builders that are in each other's way, and missing archives. */
export function checkHosts(value: unknown, ctx: Context): void {
    if (!isTable(value) || !isTable(value.hosts)) return;
    const hosts = Object.entries(value.hosts).filter((entry): entry is [string, Record<string, unknown>] =>
        isTable(entry[1]),
    );
    if (Object.keys(value.hosts).length === 0) {
        report(ctx, { found: "empty", expected: "at least one host" }, ["hosts"]);
    }
    const builders = hosts.map(([name, host]) => builderOf(name, host, value.buildNetwork ?? BUILD_NETWORK));
    for (const [at, builder] of builders.entries()) {
        const others = builders
            .slice(0, at)
            .filter(({ machine }) => machine !== undefined && machine === builder.machine);
        checkNeighbours(builder, others, ctx);
    }
    for (const [name, host] of hosts) {
        const artifacts = isTable(value.buildkit) ? value.buildkit.artifacts : undefined;
        const { architecture } = host;
        if (isTable(artifacts) && typeof architecture === "string" && artifacts[architecture] === undefined) {
            const path = ["buildkit", "artifacts", architecture];
            report(ctx, { found: "missing", expected: `{url, sha256}: "${name}" is ${architecture}` }, path);
        }
        checkRootless(name, host, value.buildNetwork ?? BUILD_NETWORK, ctx);
    }
}

function builderOf(name: string, host: Record<string, unknown>, network: unknown): Builder {
    const { ssh, instance, port = BUILDKIT_PORT, rootless } = host;
    return {
        name,
        machine: isTable(ssh) && typeof ssh.host === "string" ? `${ssh.host}:${ssh.port ?? 22}` : undefined,
        instance,
        port,
        network: rootless === true ? undefined : readCidr(host.buildNetwork ?? network),
    };
}

function checkNeighbours({ name, instance, port, network }: Builder, others: Builder[], ctx: Context): void {
    const path = (...field: string[]) => ["hosts", name, ...field];
    const same = others.find((other) => other.instance === instance);
    if (same !== undefined && instance === undefined) {
        const expected = "each machine once, or with an instance, a port and a buildNetwork of its own";
        report(ctx, { found: `the same machine as "${same.name}"`, expected }, path("ssh", "host"));
        return;
    }
    if (same !== undefined) {
        const found = `${JSON.stringify(instance)}, as "${same.name}" on the same machine`;
        report(ctx, { found, expected: "a name of its own" }, path("instance"));
    }
    const onPort = others.find((other) => other.port === port);
    if (onPort !== undefined) {
        const found = `${port}, as "${onPort.name}" on the same machine`;
        report(ctx, { found, expected: "a port of its own" }, path("port"));
    }
    for (const other of others) {
        if (network === undefined || other.network === undefined || !overlap(network, other.network)) continue;
        const found = `${network.text} overlaps with ${other.network.text} of "${other.name}" on the same machine`;
        report(ctx, { found, expected: "a network of its own" }, path("buildNetwork"));
    }
}

function checkRootless(name: string, host: Record<string, unknown>, network: unknown, ctx: Context): void {
    const cidr = readCidr(host.buildNetwork ?? network);
    if (host.rootless !== true || cidr === undefined || cidr.prefix <= ROOTLESS_PREFIX) return;
    const expected = `a /${ROOTLESS_PREFIX} or larger: a rootless builder takes two networks of it`;
    report(ctx, { found: `${cidr.text} is too small`, expected }, ["hosts", name, "buildNetwork"]);
}

/** What can't be read is told where it stands. */
function readCidr(text: unknown): Cidr | undefined {
    try {
        return typeof text === "string" ? parseCidr(text) : undefined;
    } catch {
        return undefined;
    }
}
