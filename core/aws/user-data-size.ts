import { createHash } from "node:crypto";
import { encodeUserData, renderUserData } from "../host";
import { FormatError, type Problem, SettingsError } from "../problems";
import { isTable } from "../schema-tables";
import { hostSettings, nodeRegistries, type PlannedNode, type RegistryAccess } from "./fleet-plan";
import type { FleetSettings } from "./fleet-settings";
import { fleetId, logGroupName, type NameScope, tlsParameterName } from "./names";

/** GitHub's address of BuildKit's release tarball. */
const releaseUrl = (version: string, architecture: string) =>
    `https://github.com/moby/buildkit/releases/download/v${version}/buildkit-v${version}.linux-${architecture}.tar.gz`;

/**
 * Renders every node's user data as far as it is known, so that a preview refuses what EC2 would: values of other resources are replaced
 * by ones of the same length that compress no better.
 *
 * @throws SettingsError naming each node whose user data can't be made, or is too large.
 */
export function checkUserData(
    subject: string,
    settings: FleetSettings,
    nodes: readonly PlannedNode[],
    names: NameScope,
) {
    const problems = nodes.flatMap((node) => problemsOf(settings, node, names));
    // The same problem in all nodes is told once, at the first.
    const told = problems.filter(({ found }, index) => problems.findIndex((other) => other.found === found) === index);
    if (told.length > 0) {
        throw new SettingsError(subject, told);
    }
}

function problemsOf(settings: FleetSettings, node: PlannedNode, names: NameScope): Problem[] {
    const { version, artifacts } = settings.buildkit;
    const { url, sha256 } = artifacts?.[node.type.architecture] ?? {};
    const planned = releaseUrl(version, node.type.architecture);
    const parts = {
        fleet: fleetId(names),
        artifact: {
            url: typeof url === "string" ? url : planned,
            sha256: typeof sha256 === "string" ? sha256 : createHash("sha256").update(planned).digest("hex"),
        },
        volumeId: node.cache.kind === "volume" ? "vol-0a1b2c3d4e5f60718" : undefined,
        ...nodeRegistries(knownRegistries(settings.registries)),
        parameter: tlsParameterName(names, node.name),
        logGroup: logGroupName(names),
    };
    try {
        encodeUserData(renderUserData(hostSettings(settings, node, parts)));
        return [];
    } catch (error) {
        if (error instanceof FormatError) {
            const { found, expected, hint } = error;
            return [{ path: `nodes.${node.group}`, found, expected, ...(hint === undefined ? {} : { hint }) }];
        }
        if (error instanceof SettingsError) {
            return [...error.problems];
        }
        throw error;
    }
}

/** What is not known yet is left out: the user data is checked again when it is made. */
function knownRegistries(registries: unknown): Record<string, RegistryAccess> {
    const texts = (list: unknown) => (Array.isArray(list) ? list.filter((one) => typeof one === "string") : []);
    const known = Object.entries(isTable(registries) ? registries : {}).filter(([, value]) => isTable(value));
    return Object.fromEntries(
        known.map(([host, value]) => {
            const { http, ca, mirrors } = value as Record<string, unknown>;
            return [host, { http: http === true, ca: texts(ca), mirrors: texts(mirrors) }];
        }),
    );
}
