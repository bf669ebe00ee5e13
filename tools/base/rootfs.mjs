// Root file systems with a real dpkg database, made by mmdebstrap from the distribution's packages.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asRoot, run } from "../setup/process.mjs";
import { EPOCH } from "./recipe.mjs";
import { aptSources, readDistribution } from "./sources.mjs";

/**
 * A command that runs with the whole machine read-only but one folder, in a mount namespace of its own; needs root.
 *
 * The packages' scripts run on this machine's own programs and act on the new root (`DPKG_ROOT`), so that the other
 * architecture needs no emulation and takes 10 seconds, not minutes. A script that does not know DPKG_ROOT would act on
 * this machine instead, and must not be able to.
 *
 * @param {string} folder
 * @param {string[]} command
 * @returns {string[]}
 */
export function onReadOnlyMachine(folder, command) {
    const script = `
set -e
mount --bind "$1" "$1"
for mounted in / /etc /usr /var /boot /opt /home /root /srv; do
    if mountpoint -q "$mounted"; then mount -o remount,ro,bind "$mounted"; fi
done
shift
exec "$@"
`;
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", folder, ...command];
}

/** Before the packages: a merged /usr, and debconf's settings, which libc6 reads from the new root. */
const SETUP_HOOK = `
set -e
cd "$1"
for folder in bin sbin lib; do
    mkdir -p "usr/$folder"
    ln -s "usr/$folder" "$folder"
done
mkdir -p etc var/cache/debconf
cp /etc/debconf.conf etc/
`;

/**
 * @param {string} architecture
 * @param {import("./recipe.mjs").Recipe} recipe
 * @param {string} work scratch folder, also the only one that can be written
 * @returns {Promise<string>} path of a tar file
 */
export async function makeRootfs(architecture, recipe, work) {
    const scratch = join(work, `${recipe.tag}-${architecture}`);
    mkdirSync(scratch, { recursive: true });
    const output = join(scratch, "rootfs.tar");
    const sources = join(scratch, "sources.list");
    writeFileSync(sources, `${aptSources(architecture).join("\n")}\n`);
    const command = onReadOnlyMachine(scratch, [
        "env",
        `TMPDIR=${scratch}`,
        `SOURCE_DATE_EPOCH=${EPOCH}`,
        "mmdebstrap",
        "--mode=chrootless",
        "--variant=custom",
        `--architectures=${architecture}`,
        `--include=${recipe.packages.join(",")}`,
        "--skip=output/dev,cleanup",
        ...(await proxySettings()).map((line) => `--aptopt=${line}`),
        `--setup-hook=${SETUP_HOOK}${architecture === "amd64" ? "mkdir usr/lib64; ln -s usr/lib64 lib64\n" : ""}`,
        `--customize-hook=${cleanupHook(recipe)}`,
        readDistribution().suite,
        output,
        sources,
    ]);
    await run(...asRoot(command, "making the base image"), { next: "check the machine's apt sources: apt-get update" });
    return output;
}

/**
 * After the packages: away with what belongs to this machine or to the making of the image.
 *
 * @param {import("./recipe.mjs").Recipe} recipe
 */
function cleanupHook(recipe) {
    const ours = [
        "etc/apt",
        "etc/debconf.conf",
        "etc/hostname",
        "etc/resolv.conf",
        "var/lib/apt",
        "var/lib/dpkg/*-old",
    ];
    return `
set -e
cd "$1"
rm -rf ${[...ours, "var/cache/*", "var/log/*", "tmp/*", "run/*", ...recipe.leftOut].join(" ")}
find usr/share/doc -depth -mindepth 1 ! -name copyright ! -type d -delete
find usr/share/doc -depth -mindepth 1 -type d -empty -delete
`;
}

/** Settings of this machine's apt that reach a mirror: mmdebstrap uses a configuration of its own. */
export async function proxySettings() {
    const dump = await run("apt-config", ["dump"]);
    return dump
        .split("\n")
        .filter((line) => /^Acquire::(https?::\S*Proxy|Check-Valid-Until|Check-Date)\b.*".+";$/i.test(line));
}

/**
 * Gives a file made through sudo to the user who runs this.
 *
 * @param {string} path
 */
export async function takeOver(path) {
    if (process.getuid?.() === 0) return;
    await run(...asRoot(["chown", "-R", `${process.getuid?.()}:${process.getgid?.()}`, path], "taking the image over"));
}
