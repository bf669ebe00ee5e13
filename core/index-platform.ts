import { Platform } from "./platform";
import { FormatError, type Problem } from "./problems";
import { quote } from "./text";

/** A platform with what only some systems need. */
export interface IndexPlatform {
    /** `linux/arm64`, `windows/amd64`. */
    name: string;
    /**
     * Written as it is, also where names leave it out because it goes without saying: `v8` of `linux/arm64`. Default: what the
     * name says.
     */
    variant?: string;
    /** Windows' build: `10.0.20348.2762`. */
    osVersion?: string;
    /** What the system must have: `win32k`. */
    osFeatures?: readonly string[];
    /** What the processor must have: `sse4`. Docker's manifest lists only; OCI reserves the name. */
    features?: readonly string[];
}

/** A platform as it stands in a descriptor: OCI's image-index.md, "platform", and Docker's manifest list (v2, schema 2). */
export interface PlatformObject {
    architecture: string;
    os: string;
    "os.version"?: string;
    "os.features"?: string[];
    variant?: string;
    features?: string[];
}

/** What an image's configuration says of where it runs (OCI's config.md); some builders leave out what they don't know. */
export interface ConfigPlatform {
    os?: string;
    architecture?: string;
    variant?: string;
    "os.version"?: string;
    "os.features"?: readonly string[];
}

const asTable = (given: string | IndexPlatform): IndexPlatform => (typeof given === "string" ? { name: given } : given);

/**
 * The platform as a descriptor has it. Keys stand in the order of the specifications, features in that of their names: they
 * are sets, and the same platform is to have the same bytes.
 *
 * @throws FormatError for a name that is no platform.
 */
export function platformObject(given: string | IndexPlatform): PlatformObject {
    const { variant: spoken, osVersion, osFeatures = [], features = [] } = asTable(given);
    const { architecture, os, variant = spoken && withV(spoken) } = fullPlatform(given);
    return {
        architecture,
        os,
        ...(osVersion === undefined ? {} : { "os.version": osVersion }),
        ...(osFeatures.length === 0 ? {} : { "os.features": [...osFeatures].sort() }),
        ...(variant === undefined ? {} : { variant }),
        ...(features.length === 0 ? {} : { features: [...features].sort() }),
    };
}

/** `8` and `V8` are `v8`. */
const withV = (variant: string) =>
    variant
        .trim()
        .toLowerCase()
        .replace(/^(?!v)/, "v");

/** What tells platforms in an index apart: equal for two that every client takes for the same. */
export function platformIdentityOf(given: string | IndexPlatform): string {
    const { variant: _, ...rest } = asTable(given);
    return JSON.stringify(platformObject({ ...rest, name: fullPlatform(given).toString() }));
}

/** The name and the variant beside it as one: of `linux/arm` with `v6`, `linux/arm/v6`. @throws FormatError */
function fullPlatform(given: string | IndexPlatform): Platform {
    const { name, variant } = asTable(given);
    if (variant === undefined || withV(name.slice(name.lastIndexOf("/") + 1)) === withV(variant)) {
        return Platform.parse(name);
    }
    return Platform.parse(`${name.trim()}/${withV(variant)}`);
}

/**
 * A platform in words, as containerd writes it (platforms.FormatAll): `linux/arm/v7`, `windows(10.0.20348+win32k)/amd64`; what only
 * Docker's lists say of the processor stands at the end: `linux/amd64+sse4`. Different for any two that an index may have.
 */
export function platformLabel(given: string | IndexPlatform): string {
    const { osVersion = "", osFeatures = [], features = [] } = asTable(given);
    const [os = "", ...rest] = fullPlatform(given).toString().split("/");
    const words = (list: readonly string[]) =>
        [...list]
            .sort()
            .map((word) => `+${word}`)
            .join("");
    const details = `${osVersion}${words(osFeatures)}`;
    return `${[details === "" ? os : `${os}(${details})`, ...rest].join("/")}${words(features)}`;
}

/**
 * Reads a descriptor's platform back; {@link platformObject} gives the same again.
 *
 * @throws FormatError for one that is none, such as the `unknown/unknown` of an attestation.
 */
export function indexPlatform(object: ConfigPlatform & { features?: readonly string[] }): IndexPlatform {
    const { variant } = object;
    const parsed = Platform.parse(nameOf(object));
    const { "os.version": osVersion, "os.features": osFeatures = [], features = [] } = object;
    return {
        name: parsed.toString(),
        ...(variant && parsed.variant === undefined ? { variant: withV(variant) } : {}),
        ...(osVersion ? { osVersion } : {}),
        ...(osFeatures.length > 0 ? { osFeatures: [...osFeatures] } : {}),
        ...(features.length > 0 ? { features: [...features] } : {}),
    };
}

const nameOf = ({ os, architecture, variant }: ConfigPlatform) => [os, architecture, variant].filter(Boolean).join("/");

/** What is wrong with a platform, each with its path below `path`. `docker`: for a manifest list. */
export function platformFaults(given: string | IndexPlatform, path: string, docker: boolean): Problem[] {
    const { name, variant, osVersion, osFeatures = [], features = [] } = asTable(given);
    const oci = features.length > 0 && !docker;
    const reserved = {
        path: `${path}.features`,
        found: "set for an OCI index, which reserves it",
        expected: 'format "docker"',
    };
    const named = nameProblems(name, path);
    return [
        ...named,
        ...(named.length > 0 || variant === undefined ? [] : variantProblems(given, `${path}.variant`)),
        ...(osVersion === undefined || osVersion.trim() !== ""
            ? []
            : [{ path: `${path}.osVersion`, found: "empty", expected: 'a version such as "10.0.20348.2762"' }]),
        ...wordProblems(osFeatures, `${path}.osFeatures`),
        ...wordProblems(features, `${path}.features`),
        ...(oci ? [reserved] : []),
    ];
}

const nameProblems = (name: string, path: string) => faultsOf(() => Platform.parse(name), path);

function faultsOf(read: () => unknown, path: string): Problem[] {
    try {
        read();
        return [];
    } catch (error) {
        if (error instanceof FormatError) {
            const { found, expected, hint } = error;
            return [{ path, found, expected, ...(hint === undefined ? {} : { hint }) }];
        }
        throw error;
    }
}

function variantProblems(given: string | IndexPlatform, path: string): Problem[] {
    const { name, variant = "" } = asTable(given);
    const expected = `a variant of ${Platform.parse(name).architecture}, the name's own where it has one`;
    const faults = faultsOf(() => fullPlatform(given), path);
    return faults.map(() => ({ path, found: `${quote(variant)} does not fit ${quote(name)}`, expected }));
}

function wordProblems(words: readonly string[], path: string): Problem[] {
    return words.flatMap((word, i) => {
        if (word.trim() === "") {
            return [{ path: `${path}[${i}]`, found: "empty", expected: "a feature's name" }];
        }
        const first = words.indexOf(word);
        return first === i
            ? []
            : [{ path: `${path}[${i}]`, found: `the same as item ${first}`, expected: "each once" }];
    });
}

/**
 * The platform under which an image is to stand in an index: what was declared of it, completed by what its configuration says.
 * A variant that the configuration leaves out is the declaration's to say (many ARM images have none); everything else that
 * both say must be the same.
 *
 * @param declared nothing: the configuration alone.
 * @throws FormatError naming both sides, or saying that the configuration names no platform.
 */
export function agreedPlatform(config: ConfigPlatform, declared?: string | IndexPlatform): IndexPlatform {
    const found = indexPlatform(config);
    if (declared === undefined) {
        return found;
    }
    const wanted = asTable(declared);
    const [said, meant] = [Platform.parse(found.name), fullPlatform(wanted)];
    const variant = wanted.variant === undefined ? found.variant : withV(wanted.variant);
    const open = !config.variant && said.os === meant.os && said.architecture === meant.architecture;
    const { osVersion = found.osVersion, osFeatures = found.osFeatures, features } = wanted;
    if (
        !(open || said.equals(meant)) ||
        (found.osVersion ?? osVersion) !== osVersion ||
        !sameWords(found.osFeatures ?? osFeatures, osFeatures)
    ) {
        throw new FormatError(`the image is for ${described(found)}`, `one for ${described(wanted)}, as declared`);
    }
    return {
        name: meant.toString(),
        ...(variant === undefined || meant.variant !== undefined ? {} : { variant }),
        ...(osVersion === undefined ? {} : { osVersion }),
        ...(osFeatures === undefined ? {} : { osFeatures }),
        ...(features === undefined ? {} : { features }),
    };
}

function sameWords(left: readonly string[] = [], right: readonly string[] = []): boolean {
    return [...left].sort().join("\n") === [...right].sort().join("\n");
}

/** `windows/amd64 10.0.20348 with win32k`. */
function described({ name, osVersion, osFeatures = [] }: IndexPlatform): string {
    const features = osFeatures.length === 0 ? "" : ` with ${[...osFeatures].sort().join(", ")}`;
    return `${name}${osVersion === undefined ? "" : ` ${osVersion}`}${features}`;
}
