// The machine's own apt sources, reduced to the distribution itself: the base image is made from what this machine
// trusts and reaches, and from nothing of a third party.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exists, hostArchitecture, SetupError } from "../setup/context.mjs";

const UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports";

/** @typedef {{uri: string, suite: string, components: string[], signedBy?: string, options: string[]}} Source */

/**
 * @param {string} [root] folder that holds etc/, for tests
 * @returns {{distribution: string, suite: string}}
 */
export function readDistribution(root = "/") {
    const text = readFileSync(join(root, "etc/os-release"), "utf8");
    const field = (/** @type {string} */ name) => new RegExp(`^${name}="?([^"\n]*)`, "m").exec(text)?.[1] ?? "";
    const suite = field("VERSION_CODENAME");
    if (!suite) throw new SetupError("/etc/os-release names no release (VERSION_CODENAME)");
    return { distribution: field("ID"), suite };
}

/**
 * The lines of a sources.list for one architecture.
 *
 * @param {string} architecture "amd64" or "arm64"
 * @param {string} [root]
 * @returns {string[]}
 */
export function aptSources(architecture, root = "/") {
    const { distribution, suite } = readDistribution(root);
    const own = readSources(root).filter((source) => isDistributions(source, suite));
    if (own.length === 0) {
        throw new SetupError(
            `/etc/apt names no source of ${distribution} ${suite}`,
            "add the distribution's own sources",
        );
    }
    // Ubuntu keeps every architecture but its first on another server.
    const elsewhere = distribution === "ubuntu" && architecture !== hostArchitecture() && architecture !== "amd64";
    return own.map(({ uri, suite, components, signedBy, options }) => {
        const all = [...options, ...(signedBy ? [`signed-by=${signedBy}`] : [])];
        const bracket = all.length > 0 ? `[${all.join(" ")}] ` : "";
        return `deb ${bracket}${elsewhere ? UBUNTU_PORTS : uri} ${suite} ${components.join(" ")}`;
    });
}

/**
 * Third parties use the same suite names; what tells them apart is the key.
 *
 * @param {Source} source
 * @param {string} suite
 */
function isDistributions({ suite: own, signedBy, components }, suite) {
    const ofDistribution = !signedBy || /\/(debian|ubuntu)-archive-[^/]*\.(gpg|asc|pgp)$/.test(signedBy);
    return (
        ofDistribution && components.includes("main") && [suite, `${suite}-updates`, `${suite}-security`].includes(own)
    );
}

/**
 * @param {string} root
 * @returns {Source[]}
 */
function readSources(root) {
    const parts = join(root, "etc/apt/sources.list.d");
    const names = exists(parts) ? readdirSync(parts).sort() : [];
    const list = join(root, "etc/apt/sources.list");
    const read = (/** @type {string} */ name) => readFileSync(join(parts, name), "utf8");
    return [
        ...(exists(list) ? oneLine(readFileSync(list, "utf8")) : []),
        ...names.filter((name) => name.endsWith(".list")).flatMap((name) => oneLine(read(name))),
        ...names.filter((name) => name.endsWith(".sources")).flatMap((name) => deb822(read(name))),
    ];
}

/**
 * One-line style, see sources.list(5).
 *
 * @param {string} text
 * @returns {Source[]}
 */
function oneLine(text) {
    return text.split("\n").flatMap((line) => {
        const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line.trim());
        if (!match) return [];
        const options = (match[1] ?? "").split(/\s+/).filter((option) => option && !option.startsWith("arch="));
        const signedBy = options.find((option) => option.startsWith("signed-by="))?.slice("signed-by=".length);
        return {
            uri: match[2] ?? "",
            suite: match[3] ?? "",
            components: (match[4] ?? "").trim().split(/\s+/),
            signedBy,
            options: options.filter((option) => !option.startsWith("signed-by=")),
        };
    });
}

/**
 * deb822 style, see sources.list(5). A key written into the file itself is left to the machine's own keyring.
 *
 * @param {string} text
 * @returns {Source[]}
 */
function deb822(text) {
    return text.split(/\n\s*\n/).flatMap((stanza) => {
        const field = (/** @type {string} */ name) =>
            new RegExp(`^${name}:[ \t]*(.*(?:\n[ \t].*)*)`, "im").exec(stanza.replace(/^#.*\n/gm, ""))?.[1]?.trim() ??
            "";
        const words = (/** @type {string} */ name) => field(name).split(/\s+/).filter(Boolean);
        if (!words("Types").includes("deb") || /^(no|false)$/i.test(field("Enabled"))) return [];
        const signedBy = words("Signed-By")[0];
        const embedded = signedBy !== undefined && !signedBy.startsWith("/");
        const options = /^yes$/i.test(field("Trusted")) ? ["trusted=yes"] : [];
        return words("URIs").flatMap((uri) =>
            words("Suites").map((suite) => ({
                uri,
                suite,
                components: words("Components"),
                signedBy: embedded ? undefined : signedBy,
                options,
            })),
        );
    });
}
