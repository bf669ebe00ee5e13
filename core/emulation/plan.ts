import { Platform } from "../platform";
import {
    binfmtLine,
    type EmulatedArchitecture,
    emulatedArchitectures,
    factsOf,
    identify,
    isEmulated,
    isHandledBy,
    type Pattern,
    parseBinfmtLine,
} from "./binfmt";

/** A handler that is registered with a host's kernel. */
interface Handler extends Pattern {
    name: string;
    enabled: boolean;
    interpreter: string;
    flags: string;
    offset: number;
}

/** What look.sh says of a host. */
export interface HostEmulation {
    /** As `uname -m` has it. */
    machine: string;
    /** Tells it from other hosts, whatever it is called; nothing where it has no /etc/machine-id. */
    identity?: string;
    /** Of the kernel's present run (random(4), boot_id). */
    boot: string;
    handlers: Handler[];
    /** Lines of the host's own packages whose emulator is there. */
    offered: NonNullable<ReturnType<typeof parseBinfmtLine>>[];
    /** Our own handlers that a boot registers, by name. */
    kept: Map<string, string>;
    /** Who uses each of our own handlers. */
    users: Map<string, string[]>;
}

/** An emulator that is fetched: a static program. */
export interface EmulatorSource {
    url: string;
    /** 64 hexadecimal digits. */
    sha256: string;
}

/** How a platform comes to be emulated on a host. */
export type HandlerPlan =
    /** Somebody else's handler does it; it is left as it is. */
    | { ours: false; handler: string; interpreter: string }
    /** `inPlace`: nothing is to be done; `used`: the owner's name is on it already. */
    | { ours: true; handler: string; interpreter: string; line: string; inPlace: boolean; used: boolean };

/** Every handler of ours is called so: what has this name was put there by this library, whatever became of its state. */
export const PREFIX = "buildfleet-";
/** Fetched emulators, by handler. */
const EMULATORS = "/opt/buildfleet-emulation";

/** Reads what look.sh prints. */
export function parseHostEmulation(text: string): HostEmulation {
    const host: HostEmulation = { machine: "", boot: "", handlers: [], offered: [], kept: new Map(), users: new Map() };
    for (const block of text.split(/\n(?! )/)) {
        const [first = "", ...rest] = block.split("\n");
        const space = first.indexOf(" ");
        const [word, value] = [first.slice(0, space), first.slice(space + 1)];
        if (word === "machine" || word === "identity" || word === "boot") host[word] = value;
        else if (word === "handler") host.handlers.push(parseHandler(value, rest));
        else if (word === "offered")
            host.offered.push(...[parseBinfmtLine(value)].filter((line) => line !== undefined));
        else if (word === "kept") host.kept.set(value.split(":")[1] ?? "", value);
        else if (word === "user") {
            const [handler = "", user = ""] = value.split(" ");
            host.users.set(handler, [...(host.users.get(handler) ?? []), user]);
        }
    }
    return host;
}

/** A file of /proc/sys/fs/binfmt_misc, each line indented. */
function parseHandler(name: string, lines: string[]): Handler {
    const values = new Map(lines.map((line) => /^ *([a-z]+):? ?(.*)$/.exec(line)?.slice(1, 3) as [string, string]));
    const bytes = (key: string) => Buffer.from(values.get(key) ?? "", "hex");
    const magic = bytes("magic");
    return {
        name,
        enabled: values.has("enabled"),
        interpreter: values.get("interpreter") ?? "",
        flags: values.get("flags") ?? "",
        offset: Number(values.get("offset") ?? 0),
        // A handler by file name extension has no magic, and handles no program of ours.
        magic: magic.length > 0 ? magic : Buffer.from([0]),
        mask: values.has("mask") ? bytes("mask") : Buffer.alloc(magic.length, 0xff),
    };
}

/**
 * How `platform` is emulated on a host: by a handler that is there and that containers can use (flag F), or by one of our own.
 *
 * @param owner who asks, as in its file under /var/lib/buildfleet-emulation
 * @throws Error for a platform that the host runs itself, an emulator that is not there, or one that others use differently
 */
export function planHandler(
    host: HostEmulation,
    platform: string,
    owner: string,
    source: EmulatorSource | undefined,
): HandlerPlan {
    const architecture = emulatedOf(platform);
    const { machine } = factsOf(architecture);
    refuseNative(platform, host.machine);
    const program = identify(architecture, 2);
    const handler = `${PREFIX}${machine}`;
    const theirs = host.handlers.find(
        (one) =>
            !one.name.startsWith(PREFIX) &&
            one.enabled &&
            one.flags.includes("F") &&
            isHandledBy(one, program, one.offset),
    );
    if (theirs && !source) return { ours: false, handler: theirs.name, interpreter: theirs.interpreter };
    const { interpreter, flags } = source
        ? { interpreter: `${EMULATORS}/${handler}/qemu-${source.sha256.slice(0, 16)}`, flags: "OCF" }
        : offeredFor(host, program, platform);
    const line = binfmtLine({ name: handler, architecture, interpreter, flags });
    const others = (host.users.get(handler) ?? []).filter((user) => user !== owner);
    const kept = host.kept.get(handler);
    if (others.length > 0 && kept !== undefined && kept !== line)
        throw new Error(
            `${handler} is used by ${others.join(", ")} with another emulator (${parseBinfmtLine(kept)?.interpreter}); ` +
                "give both the same one",
        );
    const registered = host.handlers.find(({ name }) => name === handler);
    const used = (host.users.get(handler) ?? []).includes(owner);
    const inPlace =
        used &&
        kept === line &&
        registered?.enabled === true &&
        registered.interpreter === interpreter &&
        registered.flags.includes("F");
    return { ours: true, handler, interpreter, line, inPlace, used };
}

/**
 * 32-bit ARM on arm64 is let through: not every processor runs it, and its owner asks for it.
 *
 * @throws Error for a platform that every machine of that kind (`x86_64`, `linux/amd64`) runs itself
 */
export function refuseNative(platform: string, machine: string): void {
    const itself = Platform.parse(machine).architecture;
    const { architecture } = Platform.parse(platform);
    if (itself === architecture || (architecture === "386" && itself === "amd64"))
        throw new Error(`${platform} needs no emulation on ${machine}; leave it out of this host's platforms`);
}

/** The emulator of the host's own package; containers are to need none, so the kernel opens it when it is registered. */
function offeredFor({ offered }: HostEmulation, program: Buffer, platform: string) {
    const found = offered.find((line) => isHandledBy(line, program));
    if (!found)
        throw new Error(
            `no emulator for ${platform} is installed; install the package qemu-user-static (Debian, Ubuntu, Fedora; it has ` +
                "/usr/lib/binfmt.d/qemu-*.conf), or say where one is fetched from with emulators",
        );
    return { interpreter: found.interpreter, flags: `${found.flags.replace(/[^POC]/g, "")}F` };
}

/** @throws Error for a platform that nothing emulates */
export function emulatedOf(platform: string): EmulatedArchitecture {
    const { os, architecture } = Platform.parse(platform);
    if (os === "linux" && isEmulated(architecture)) return architecture;
    throw new Error(`${platform} can't be emulated; these can: ${emulatedArchitectures.join(", ")}`);
}
