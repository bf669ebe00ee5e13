import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildkitdToml } from "../buildkitd-toml";
import { hostProblem } from "./checks";
import { hostEnvironment } from "./environment";
import { BUILDKIT_PORT, type HostSettings } from "./settings";

/** One file of a builder, whole. */
export interface HostFile {
    /** Absolute. */
    path: string;
    /** Of its permissions, octal: `"0644"`. */
    mode: "0600" | "0644" | "0755";
    content: string;
}

/** Where the scripts live. */
export const SCRIPTS = "/usr/local/libexec/buildfleet";
export const CONFIGURATION = "/etc/buildfleet";
export const UNITS = "/etc/systemd/system";

/** Is there once all other files are. */
export const READY_FILE = `${CONFIGURATION}/ready`;

/** What starts a builder once its files are there; run again, it changes nothing. */
export const HOST_COMMANDS: readonly (readonly string[])[] = [[`${SCRIPTS}/activate.sh`]];

const SLICE = "buildfleet.slice";

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

/** Started by what needs them. */
export const helpers = ["artifact", "cache", "firewall", "tls", "retry"].map((name) => `buildfleet-${name}`);

/**
 * Every file of a builder, in the order in which they are written; scripts and units are the files of `files/`, untouched, and
 * the settings are in host.env, buildkitd.toml and the units' `settings.conf`.
 *
 * @throws FormatError for a setting that could not be what it has to be (a version that is no file name, for one).
 */
export function hostFiles(settings: HostSettings): HostFile[] {
    hostProblem(settings);
    const units = started(settings);
    const timers = units.filter((unit) => unit.endsWith(".timer"));
    const services = [...helpers, ...timers.map((timer) => timer.replace(/\.timer$/, ""))].map(
        (unit) => `${unit}.service`,
    );
    const isManaged = settings.tls.kind === "files";
    const wanted = scripts.filter((name) => !isManaged || !onlyOnEc2.includes(name));
    const source = (name: string) => hostScript(isManaged && name === "tls.sh" ? "tls-files.sh" : name);
    return [
        ...wanted.map((name) => file(`${SCRIPTS}/${name}`, source(name), name === "lib.sh" ? "0644" : "0755")),
        ...[...services, ...units].map((unit) => file(`${UNITS}/${unit}`, hostScript(unit))),
        ...overrides(settings, units),
        ...Object.entries(settings.authorities ?? {}).map(([name, pem]) => file(`${CONFIGURATION}/ca/${name}`, pem)),
        file(`${CONFIGURATION}/buildkitd.toml`, daemon(settings)),
        file(`${CONFIGURATION}/host.env`, hostEnvironment(settings, units)),
        ...(isManaged ? [] : [file(READY_FILE, "")]),
    ];
}

/** The units that a boot starts. */
export function started({ idle, metrics, tls }: HostSettings): string[] {
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
function overrides(settings: HostSettings, units: string[]): HostFile[] {
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
    const files = [...every, ...stop].map(([unit, content = ""]) => file(`${UNITS}/${unit}.d/settings.conf`, content));
    return [...files, ...limitFiles(settings)];
}

/** A slice, because the build steps' control groups can't be below that of the service: it holds BuildKit's own process. */
function limitFiles({ limits }: HostSettings): HostFile[] {
    if (limits === undefined) return [];
    const { memoryBytes, cpus } = limits;
    const most = [
        ...(memoryBytes === undefined ? [] : [`MemoryMax=${memoryBytes}`, "MemorySwapMax=0"]),
        ...(cpus === undefined ? [] : [`CPUQuota=${Math.round(cpus * 100)}%`]),
    ];
    const unit = ["[Unit]", "Description=buildfleet: BuildKit and its build steps", "[Slice]", ...most, ""];
    return [
        file(`${UNITS}/${SLICE}`, unit.join("\n")),
        file(`${UNITS}/buildkitd.service.d/limits.conf`, `[Service]\nSlice=${SLICE}\n`),
    ];
}

/** Clients come in over mutual TLS; the socket is for root on the machine itself. No entitlement is on. */
function daemon({ gc, maxParallelism, bridgeSubnet, registries, limits }: HostSettings): string {
    const group = limits === undefined ? {} : { defaultCgroupParent: `/${SLICE}` };
    const tls = `${CONFIGURATION}/tls/current`;
    return buildkitdToml({
        root: "/var/lib/buildkit",
        grpc: {
            address: ["unix:///run/buildkit/buildkitd.sock", `tcp://0.0.0.0:${BUILDKIT_PORT}`],
            tls: { cert: `${tls}/cert.pem`, key: `${tls}/key.pem`, ca: `${tls}/ca.pem` },
        },
        worker: { ...gc, maxParallelism, networkMode: "bridge", bridgeName: "buildfleet0", bridgeSubnet, ...group },
        registry: registries,
    });
}

function file(path: string, content: string, mode: HostFile["mode"] = "0644"): HostFile {
    return { path, mode, content };
}

/** A script or unit as it is in `files/`. */
export function hostScript(name: string): string {
    return readFileSync(join(__dirname, "files", name), "utf8");
}
