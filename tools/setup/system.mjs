// What belongs to the machine: the distribution's packages and the emulation of the other architecture.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ARM_FIRMWARE, machineArchitecture } from "../vm/recipe.mjs";
import { exists, hostArchitecture, SetupError, timed, which } from "./context.mjs";
import { findPython } from "./moto.mjs";
import { asRoot, run } from "./process.mjs";

const NODE_MINIMUM = [20, 19];

/**
 * A package, by the command that shows it is there: a runc that came with Docker is as good as the distribution's.
 *
 * @typedef {object} Package
 * @property {string} name
 * @property {string} command
 * @property {() => boolean} [present] for a package that shows by something else
 */

/** @type {Package[]} */
const PACKAGES = [
    { name: "runc", command: "runc" },
    {
        name: "qemu-user-static",
        command: hostArchitecture() === "amd64" ? "qemu-aarch64-static" : "qemu-x86_64-static",
    },
    { name: "skopeo", command: "skopeo" },
    { name: "mmdebstrap", command: "mmdebstrap" },
];

/** @type {Package[]} What only the tests need. */
export const TEST_PACKAGES = [
    { name: "python3-venv", command: "python3", present: () => findPython() !== undefined },
    ...emulatorPackages(machineArchitecture()),
    { name: "iproute2", command: "ip" },
    { name: "e2fsprogs", command: "mke2fs" },
    { name: "iptables", command: "iptables" },
    { name: "openssl", command: "openssl" },
    { name: "curl", command: "curl" },
    { name: "openssh-client", command: "ssh" },
    { name: "openssh-server", command: "sshd" },
    { name: "shellcheck", command: "shellcheck" },
    { name: "docker.io", command: "dockerd" },
    // The units' own check; no other package has it.
    { name: "systemd", command: "systemd-analyze" },
    {
        name: "containernetworking-plugins",
        command: "bridge",
        present: () => exists("/usr/lib/cni/bridge"),
    },
    // For builders without root.
    { name: "rootlesskit", command: "rootlesskit" },
    { name: "slirp4netns", command: "slirp4netns" },
    { name: "uidmap", command: "newuidmap" },
    // cloud-init's parser of YAML, for the distribution's Python.
    {
        name: "python3-yaml",
        command: "python3",
        present: () => exists("/usr/lib/python3/dist-packages/yaml"),
    },
];

/**
 * What boots a machine of an architecture.
 *
 * @param {string} architecture
 * @returns {Package[]}
 */
function emulatorPackages(architecture) {
    const own =
        architecture === "amd64"
            ? [{ name: "qemu-system-x86", command: "qemu-system-x86_64" }]
            : [
                  { name: "qemu-system-arm", command: "qemu-system-aarch64" },
                  { name: "qemu-efi-aarch64", command: "qemu-system-aarch64", present: () => exists(ARM_FIRMWARE) },
              ];
    return [...own, { name: "qemu-utils", command: "qemu-img" }];
}

/** Checks Node's version and the distribution. */
export function requirePlatform() {
    const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
    const [wantedMajor = 0, wantedMinor = 0] = NODE_MINIMUM;
    if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
        throw new SetupError(`Node is ${process.versions.node}`, `install Node ${NODE_MINIMUM.join(".")} or newer`);
    }
    if (!which("apt-get") || !which("dpkg")) {
        const names = PACKAGES.map(({ name }) => name).join(", ");
        throw new SetupError("this is neither Debian nor Ubuntu", `install by hand: ${names}, and the tools on PATH`);
    }
}

/** Names of the packages whose commands are missing. */
export function missingPackages(packages = PACKAGES) {
    const folders = [...(process.env.PATH ?? "").split(":").filter(Boolean), "/usr/sbin", "/sbin"];
    const isPresent = (/** @type {Package} */ { command, present }) =>
        present ? present() : which(command, folders) !== undefined;
    return packages.filter((one) => !isPresent(one)).map(({ name }) => name);
}

/**
 * Runs a command while packages may start no service (Debian's policy-rc.d; invoke-rc.d(8)): tests start the daemons that they
 * need themselves, where they end again. A policy of the machine's own is left alone.
 */
const WITHOUT_SERVICES = `
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ] || grep -q buildfleet "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\n# buildfleet installs packages for its tests; may be removed.\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
"$@"
`;

/** @param {string[]} names */
export async function installPackages(names) {
    const install = ["apt-get", "install", "--yes", "--no-install-recommends", ...names];
    const quietly = ["sh", "-euc", WITHOUT_SERVICES, "sh", ...install];
    const next = `install them by hand: ${install.join(" ")}`;
    const env = ["env", "DEBIAN_FRONTEND=noninteractive"];
    await timed(`installing ${names.join(", ")}`, async (note) => {
        note("apt-get update");
        await run(...asRoot([...env, "apt-get", "update"], "installing packages"), { next });
        note("apt-get install");
        await run(...asRoot([...env, ...quietly], "installing packages"), { next });
    });
}

/** Architecture that this machine can't run by itself, in the kernel's and qemu's words. */
function foreignMachine() {
    return hostArchitecture() === "amd64" ? "aarch64" : "x86_64";
}

const BINFMT = "/proc/sys/fs/binfmt_misc";

/** Whether the kernel hands programs of the other architecture to an emulator that containers can use. */
export function emulationState() {
    const machine = foreignMachine();
    const name = `qemu-${machine}`;
    if (!exists(join(BINFMT, "register")))
        return { ready: false, mounted: false, name, detail: "binfmt_misc not mounted" };
    const handler = readdirSync(BINFMT).find((entry) => entry.includes(machine));
    if (!handler) return { ready: false, mounted: true, name, detail: `no handler for ${machine}` };
    const text = readFileSync(join(BINFMT, handler), "utf8");
    // A handler somebody else set up is theirs: it is described, never changed.
    const flags = /^flags: (\S*)/m.exec(text)?.[1] ?? "";
    if (!text.startsWith("enabled"))
        throw new SetupError(`${handler} is disabled`, `enable it: echo 1 > ${BINFMT}/${handler}`);
    if (!flags.includes("F")) {
        throw new SetupError(
            `${handler} lacks the flag F, so containers can't use it`,
            `remove it (echo -1 > ${BINFMT}/${handler}) and run this again`,
        );
    }
    return { ready: true, mounted: true, name, detail: `${handler}, flags ${flags}` };
}

/** Mounts binfmt_misc and registers the handler that the distribution's package describes. */
export async function enableEmulation() {
    const { mounted, name } = emulationState();
    const configuration = ["/usr/lib/binfmt.d", "/etc/binfmt.d"]
        .map((folder) => join(folder, `${name}.conf`))
        .find(exists);
    if (!configuration) throw new SetupError(`${name}.conf is missing`, "apt-get install --reinstall qemu-user-static");
    await timed(`registering ${name}`, async () => {
        const purpose = "registering the emulator";
        if (!mounted) {
            await run(...asRoot(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], purpose), {
                next: "mount it on the machine that runs this container",
            });
        }
        await run(...asRoot(["sh", "-c", `cat ${configuration} > ${BINFMT}/register`], purpose));
    });
}
