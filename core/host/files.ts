import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildkitdToml } from "../buildkitd-toml";
import { hostProblem } from "./checks";
import { hostEnvironment } from "./environment";
import { type HostNames, hostNames } from "./names";
import { rootlessNetworks } from "./rootless";
import type { HostSettings } from "./settings";

/** One file of a builder, whole. */
export interface HostFile {
    /** Absolute. */
    path: string;
    /** Of its permissions, octal: `"0644"`. */
    mode: "0600" | "0644" | "0755";
    content: string;
}

export const UNITS = "/etc/systemd/system";

const ONLY = hostNames({});

/** On EC2: is there once all other files are. */
export const READY_FILE = `${ONLY.configuration}/ready`;

/** What starts a builder on EC2 once its files are there; run again, it changes nothing. */
export const HOST_COMMANDS: readonly (readonly string[])[] = [[`${ONLY.scripts}/activate.sh`]];

const scripts = [
    "activate.sh",
    "artifact.sh",
    "cache.sh",
    "drain.sh",
    "firewall.sh",
    "idle.sh",
    "lib.sh",
    "metrics.sh",
    "prune.sh",
    "status.sh",
    "tls.sh",
    "watch.sh",
];

/** Who manages the machine over SSH does these itself. */
const onlyOnEc2 = ["activate.sh", "idle.sh", "metrics.sh", "watch.sh"];

/** Units that are started by what needs them. */
const helpers = ["artifact", "cache", "firewall", "tls", "retry"].map((name) => `buildfleet-${name}.service`);

/** Files that are others, by the name under which they are installed. */
const ofManaged: Record<string, string> = { "tls.sh": "tls-files.sh" };
const ofRootless: Record<string, string> = {
    "buildkitd.service": "buildkitd-rootless.service",
    "firewall.sh": "firewall-rootless.sh",
};

/**
 * Every file of a builder, in the order in which they are written; scripts and units are the files of `files/`, untouched, and
 * the settings are in host.env, buildkitd.toml and the units' `settings.conf`.
 *
 * @throws FormatError for a setting that could not be what it has to be (a version that is no file name, for one).
 */
export function hostFiles(settings: HostSettings): HostFile[] {
    hostProblem(settings);
    const names = hostNames(settings);
    const { configuration, rename } = names;
    const units = started(settings);
    const timers = units.filter((unit) => unit.endsWith(".timer"));
    const services = [...helpers, ...timers.map((timer) => timer.replace(/\.timer$/, ".service"))];
    const isManaged = settings.tls.kind === "files";
    const wanted = [...scripts, ...(settings.rootless ? ["rootless.sh"] : [])].filter(
        (name) => !isManaged || !onlyOnEc2.includes(name),
    );
    const others = { ...(isManaged ? ofManaged : {}), ...(settings.rootless ? ofRootless : {}) };
    const source = (name: string) => hostScript(others[name] ?? name, names);
    const renamed = units.map(rename);
    return [
        ...wanted.map((name) => file(`${names.scripts}/${name}`, source(name), name === "lib.sh" ? "0644" : "0755")),
        ...[...services, ...units].map((unit) => file(`${UNITS}/${rename(unit)}`, source(unit))),
        ...overrides(settings, units, names),
        ...Object.entries(settings.authorities ?? {}).map(([name, pem]) => file(`${configuration}/ca/${name}`, pem)),
        file(`${configuration}/buildkitd.toml`, daemon(settings, names)),
        file(`${configuration}/host.env`, hostEnvironment(settings, renamed, names)),
        ...(isManaged ? [] : [file(READY_FILE, "")]),
    ];
}

/** Names of the units that a boot starts, and of those that they start and that count as active since. */
export function hostUnits(settings: HostSettings): { enabled: string[]; active: string[] } {
    const { rename } = hostNames(settings);
    const enabled = started(settings).map(rename);
    const lasting = helpers.filter((name) => name !== "buildfleet-retry.service");
    return { enabled, active: [...enabled, ...lasting.map(rename)] };
}

/** The units that a boot starts, by the names of a machine's first builder. */
function started({ idle, metrics, tls }: HostSettings): string[] {
    return [
        "buildkitd.service",
        "buildfleet-drain.service",
        "buildfleet-status.service",
        ...(tls.kind === "ssm" ? ["buildfleet-watch.service", "buildfleet-tls-poll.timer"] : []),
        "buildfleet-prune.timer",
        ...(idle === undefined ? [] : ["buildfleet-idle.timer"]),
        ...(metrics === undefined ? [] : ["buildfleet-metrics.timer"]),
    ];
}

/** How long and how often, which systemd does not take from host.env. */
function overrides(settings: HostSettings, units: string[], names: HostNames): HostFile[] {
    const { tls, idle, metrics, drainTimeoutSeconds } = settings;
    const seconds: Record<string, number> = {
        ...(tls.kind === "ssm" ? { "buildfleet-tls-poll.timer": tls.pollSeconds } : {}),
        "buildfleet-prune.timer": 300,
        // Stops at most a quarter late, and looks once a minute where that is soon enough.
        "buildfleet-idle.timer": Math.min(60, Math.max(1, Math.floor((idle?.stopAfterSeconds ?? 0) / 4))),
        "buildfleet-metrics.timer": metrics?.everySeconds ?? 60,
    };
    const every = units.flatMap((unit) =>
        seconds[unit] === undefined ? [] : [[unit, `[Timer]\nOnUnitInactiveSec=${seconds[unit]}\n`]],
    );
    // The drain ends by itself; the half minute is for BuildKit to stop.
    const stop = ["buildkitd.service", "buildfleet-drain.service"].map((unit) => [
        unit,
        `[Service]\nTimeoutStopSec=${drainTimeoutSeconds + 30}\n`,
    ]);
    const files = [...every, ...stop].map(([unit = "", content = ""]) =>
        file(`${UNITS}/${names.rename(unit)}.d/settings.conf`, content),
    );
    return [...files, ...limitFiles(settings, names), ...rootlessFiles(settings, names)];
}

/** A slice, because the build steps' control groups can't be below that of the service: it holds BuildKit's own process. */
function limitFiles({ limits }: HostSettings, { slice, rename }: HostNames): HostFile[] {
    if (limits === undefined) return [];
    const { memoryBytes, cpus } = limits;
    const most = [
        ...(memoryBytes === undefined ? [] : [`MemoryMax=${memoryBytes}`, "MemorySwapMax=0"]),
        ...(cpus === undefined ? [] : [`CPUQuota=${Math.round(cpus * 100)}%`]),
    ];
    const unit = ["[Unit]", "Description=buildfleet: BuildKit and its build steps", "[Slice]", ...most, ""];
    return [
        file(`${UNITS}/${slice}`, rename(unit.join("\n"))),
        file(`${UNITS}/${rename("buildkitd.service.d")}/limits.conf`, `[Service]\nSlice=${slice}\n`),
    ];
}

/** What of its unit depends on the settings: systemd takes no word from host.env as it is quoted there. */
function rootlessFiles({ rootless, bridgeSubnet }: HostSettings, { rename }: HostNames): HostFile[] {
    if (!rootless) return [];
    const content = `[Service]\nEnvironment=ROOTLESS_NETWORK=${rootlessNetworks(bridgeSubnet).uplink}\n`;
    return [file(`${UNITS}/${rename("buildkitd.service.d")}/rootless.conf`, content)];
}

/** Clients come in over mutual TLS; the socket is for root on the machine itself. No entitlement is on. */
function daemon(settings: HostSettings, { configuration, root, sockets, slice, bridge, port }: HostNames): string {
    const { gc, maxParallelism, bridgeSubnet, registries, limits, instance, rootless = false } = settings;
    // Without root BuildKit can't move build steps to another group: they stay in that of the service, which is in the slice.
    const group = limits === undefined || rootless ? {} : { defaultCgroupParent: `/${slice}` };
    const network = {
        bridgeName: bridge,
        bridgeSubnet: rootless ? rootlessNetworks(bridgeSubnet).bridge : bridgeSubnet,
    };
    const tls = `${configuration}/tls/current`;
    return buildkitdToml({
        root,
        grpc: {
            address: [`unix://${sockets}/buildkitd.sock`, `tcp://0.0.0.0:${port}`],
            tls: { cert: `${tls}/cert.pem`, key: `${tls}/key.pem`, ca: `${tls}/ca.pem` },
        },
        worker: {
            ...gc,
            maxParallelism,
            networkMode: "bridge",
            ...network,
            ...group,
            ...(rootless ? { rootless } : {}),
        },
        // Its own default is one socket for all of a machine.
        ...(instance === undefined && !rootless ? {} : { otel: { socketPath: `${sockets}/otel-grpc.sock` } }),
        registry: registries,
    });
}

function file(path: string, content: string, mode: HostFile["mode"] = "0644"): HostFile {
    return { path, mode, content };
}

/** A script or unit of `files/`, for the builder of these names. */
export function hostScript(name: string, names: HostNames = ONLY): string {
    return names.rename(readFileSync(join(__dirname, "files", name), "utf8"));
}
