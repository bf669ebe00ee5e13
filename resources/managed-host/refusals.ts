import { overlap, parseCidr } from "../../core/cidr";
import { BUILDKIT_PORT, type HostFacts, type ManagedSettings } from "../../core/host";

const MACHINES = { amd64: "x86_64", arm64: "aarch64" } as const;

/** Where commands come from, when the package has another name; the same on Debian and on Red Hat's but for a few. */
const PACKAGES: Record<string, string> = {
    ss: "iproute2",
    flock: "util-linux",
    awk: "gawk",
    cmp: "diffutils",
    sha256sum: "coreutils",
    "systemd-run": "systemd",
    systemctl: "systemd",
    newuidmap: "uidmap",
    newgidmap: "uidmap",
    useradd: "passwd",
    usermod: "passwd",
    userdel: "passwd",
    setpriv: "util-linux",
    unshare: "util-linux",
};

/**
 * @param name the builder's, for the error
 * @throws Error for a machine that must not, or can't, be made this builder; nothing has been changed then.
 */
export function refuse(
    name: string,
    { owner, settings }: { owner: string; settings: ManagedSettings },
    facts: HostFacts,
): void {
    const found = problem(owner, settings, facts);
    if (found) throw new Error(`${name} ${found.text}\nnext: ${found.next}`);
}

type Problem = { text: string; next: string } | undefined;

function problem(owner: string, settings: ManagedSettings, facts: HostFacts): Problem {
    const { machine, missing, system, foreign, unfit } = facts;
    const { architecture } = settings;
    if (machine !== MACHINES[architecture]) {
        return {
            text: `is ${machine}, and is declared as ${architecture}`,
            next: "correct architecture, or the host's address",
        };
    }
    if (missing.length > 0) {
        const packages = [...new Set(missing.map((command) => PACKAGES[command] ?? command))].join(" ");
        const manager = /debian|ubuntu/i.test(system) ? "apt-get install" : "dnf install";
        const text = `has no ${missing.join(", ")}; nothing was changed`;
        return { text, next: `on the host: ${manager} ${packages}` };
    }
    if (unfit.length > 0) {
        const reasons = unfit.map((line) => `\n  ${line}`).join("");
        return { text: `can't have a rootless builder; nothing was changed:${reasons}`, next: "see above" };
    }
    if (facts.owner !== undefined && facts.owner !== owner) {
        return {
            text: `is managed by ${facts.owner}; nothing was changed`,
            next: "delete it there first; two that manage one builder undo each other's work. Or give this one an instance",
        };
    }
    return neighbours(settings, facts) ?? strangers(foreign) ?? limits(settings, facts);
}

function strangers(foreign: string[]): Problem {
    if (foreign.length === 0) return undefined;
    return {
        text: `has a BuildKit of somebody else's: ${foreign.join(", ")}; nothing was changed`,
        next: "remove that one, or use the host as it is in an ExternalFleet; where it is only the port: another port",
    };
}

/** Other builders on the machine, also those of other stacks. */
function neighbours({ port = BUILDKIT_PORT, bridgeSubnet, rootless }: ManagedSettings, facts: HostFacts): Problem {
    for (const other of facts.neighbours) {
        const who = `the builder of ${other.owner} on it (${other.folder})`;
        if (other.port === port)
            return { text: `shares its port ${port} with ${who}; nothing was changed`, next: "another port" };
        if (rootless || other.network === undefined) continue;
        if (overlap(parseCidr(other.network), parseCidr(bridgeSubnet))) {
            return {
                text: `has the build network ${bridgeSubnet}, and ${who} has ${other.network}; nothing was changed`,
                next: "another buildNetwork for one of them",
            };
        }
    }
    return undefined;
}

/** A limit that is not in force would be found out when it is needed. */
function limits({ limits = {} }: ManagedSettings, { controllers }: HostFacts): Problem {
    const needed = [
        ...(limits.memoryBytes === undefined ? [] : ["memory"]),
        ...(limits.cpus === undefined ? [] : ["cpu"]),
    ];
    const absent = needed.filter((name) => !controllers.includes(name));
    if (absent.length === 0) return undefined;
    return {
        text: `has no ${absent.join(" and no ")} in /sys/fs/cgroup/cgroup.controllers: its limits would not hold; nothing was changed`,
        next: "start the host with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or leave memory and cpus out",
    };
}
