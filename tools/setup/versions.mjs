// Which tools the library needs, how new they must be, and what is compiled where they are not. Pure decisions.

/**
 * @typedef {object} Tool
 * @property {string} name file name on PATH and in the cache
 * @property {string} minimum oldest version that will do
 * @property {string} why what came with that version
 * @property {string[]} versionArgs how the tool is asked for its version
 * @property {string} module folder below tools/ that pins it
 * @property {string} goModule Go module whose pinned version is stamped
 * @property {string} goPackage
 * @property {string} [stamp] variable of the linker's -X that takes the version
 * @property {string} [stampPrefix] what the tool's own releases write before the number
 * @property {boolean} [own] made from sources of this checkout, so never taken from PATH
 */

const BUILDKIT = {
    minimum: "0.20.0",
    why: "reservedSpace and maxUsedSpace",
    versionArgs: ["--version"],
    module: "buildkit",
    goModule: "github.com/moby/buildkit",
    stamp: "github.com/moby/buildkit/version.Version",
    stampPrefix: "v",
};

/** @type {Tool[]} */
export const TOOLS = [
    {
        name: "registry",
        minimum: "3.0.0",
        why: "OCI 1.1 manifests with a subject",
        versionArgs: ["--version"],
        module: "registry",
        goModule: "github.com/distribution/distribution/v3",
        goPackage: "github.com/distribution/distribution/v3/cmd/registry",
        stamp: "github.com/distribution/distribution/v3/version.version",
        stampPrefix: "v",
    },
    { ...BUILDKIT, name: "buildkitd", goPackage: "github.com/moby/buildkit/cmd/buildkitd" },
    { ...BUILDKIT, name: "buildctl", goPackage: "github.com/moby/buildkit/cmd/buildctl" },
    {
        name: "docker-buildx",
        minimum: "0.20.0",
        why: "a metadata file with the image's descriptor",
        versionArgs: ["version"],
        module: "buildx",
        goModule: "github.com/docker/buildx",
        goPackage: "github.com/docker/buildx/cmd/buildx",
        stamp: "github.com/docker/buildx/version.Version",
        stampPrefix: "v",
    },
    {
        name: "syft",
        minimum: "1.20.0",
        why: "a JSON schema that grype of the same age reads",
        versionArgs: ["--version"],
        module: "syft",
        goModule: "github.com/anchore/syft",
        goPackage: "github.com/anchore/syft/cmd/syft",
        stamp: "main.version",
    },
    {
        name: "grype",
        minimum: "0.88.0",
        why: "version 6 of its database",
        versionArgs: ["--version"],
        module: "grype",
        goModule: "github.com/anchore/grype",
        goPackage: "github.com/anchore/grype/cmd/grype",
        stamp: "main.version",
    },
    {
        name: "grype-advisories",
        minimum: "0.0.0",
        why: "",
        versionArgs: [],
        module: "grype",
        goModule: "github.com/anchore/grype",
        goPackage: "./advisories",
        own: true,
    },
    {
        name: "cosign",
        minimum: "3.0.0",
        why: "bundles and --signing-config",
        versionArgs: ["version", "--json"],
        module: "cosign",
        goModule: "github.com/sigstore/cosign/v3",
        goPackage: "github.com/sigstore/cosign/v3/cmd/cosign",
        stamp: "sigs.k8s.io/release-utils/version.gitVersion",
        stampPrefix: "v",
    },
];

/** What only the tests need. @type {Tool[]} */
export const TEST_TOOLS = [
    {
        name: "docker",
        minimum: "23.0.0",
        why: "OCI images in `docker manifest`",
        versionArgs: ["--version"],
        module: "docker",
        goModule: "github.com/docker/cli",
        goPackage: "github.com/docker/cli/cmd/docker",
        stamp: "github.com/docker/cli/cli/version.Version",
    },
];

/**
 * The first version number in what a tool says of itself. `v0.0.0+unknown` is what an unstamped build says: no version.
 *
 * @param {string} output
 * @returns {string | undefined} like "1.2.3"
 */
export function parseVersion(output) {
    const found = /(?<![\w.])v?(\d+\.\d+\.\d+)(?![\d.])/.exec(output)?.[1];
    return found === "0.0.0" ? undefined : found;
}

/**
 * @param {string} version
 * @param {string} minimum
 */
export function isAtLeast(version, minimum) {
    const [have, want] = [version, minimum].map((text) => text.split(".").map(Number));
    for (const [i, part] of (want ?? []).entries()) {
        const own = have?.[i] ?? 0;
        if (own !== part) return own > part;
    }
    return true;
}

/**
 * What to do for one tool.
 *
 * @param {Tool} tool
 * @param {{path: string, version: string | undefined} | undefined} onPath
 * @param {string | undefined} stampedKey key of the build in the cache, if there is a complete one
 * @param {string} key key of what the pins ask for now
 * @returns {{action: "path" | "cached" | "compile", why: string}}
 */
export function decide(tool, onPath, stampedKey, key) {
    if (onPath?.version && isAtLeast(onPath.version, tool.minimum)) {
        return { action: "path", why: `${onPath.path}, ${onPath.version}` };
    }
    const tooOld = onPath
        ? `${onPath.path} is ${onPath.version ?? "of unknown version"}, needed ${tool.minimum}; `
        : "";
    if (stampedKey === key) return { action: "cached", why: `${tooOld}compiled from the pinned module` };
    return { action: "compile", why: tooOld + (stampedKey ? "its pin has changed" : "not there") };
}

/**
 * The version a go.mod pins for a module, without the leading "v".
 *
 * @param {string} goMod text of go.mod
 * @param {string} goModule
 * @returns {string}
 */
export function pinnedVersion(goMod, goModule) {
    const line = goMod
        .split("\n")
        .map((text) => text.trim().replace(/^require /, ""))
        .find((text) => text.startsWith(`${goModule} v`));
    const version = line
        ?.split(" ")[1]
        ?.slice(1)
        .replace(/\+incompatible$/, "");
    if (!version) throw new Error(`go.mod does not pin ${goModule}`);
    return version;
}
