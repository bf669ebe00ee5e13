import { FormatError } from "./problems";
import { didYouMean, nearest, oneOf, quote } from "./text";

/**
 * Names of one architecture in GOARCH, `uname -m`, Debian and LLVM spelling, as in containerd's platforms/database.go; and as
 * Docker's official images have them (`arm32v7`, `arm64v8`).
 */
const architectureAliases = new Map<string, readonly [architecture: string, variant?: string]>([
    ["aarch64", ["arm64"]],
    ["arm64v8", ["arm64"]],
    ["x86-64", ["amd64"]],
    ["x86_64", ["amd64"]],
    ["x64", ["amd64"]],
    ["i386", ["386"]],
    ["i686", ["386"]],
    ["armhf", ["arm", "v7"]],
    ["armv7l", ["arm", "v7"]],
    ["armv7", ["arm", "v7"]],
    ["arm32v7", ["arm", "v7"]],
    ["armel", ["arm", "v6"]],
    ["armv6l", ["arm", "v6"]],
    ["armv6", ["arm", "v6"]],
    ["arm32v6", ["arm", "v6"]],
    ["arm32v5", ["arm", "v5"]],
    ["loongarch64", ["loong64"]],
    ["mips64el", ["mips64le"]],
    ["ppc64el", ["ppc64le"]],
]);

/** Variants per architecture, weakest first; what is not listed has none. */
const variantsOf = new Map<string, readonly string[]>([
    ["amd64", ["v1", "v2", "v3", "v4"]],
    ["arm64", ["v8"]],
    ["arm", ["v5", "v6", "v7", "v8"]],
]);

/** The variant that goes without saying, and is left out of names, by architecture. */
const unspokenVariants = new Map([
    ["amd64", "v1"],
    ["arm64", "v8"],
]);

const architectures = ["amd64", "arm64", "386", "arm", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"] as const;
const systems = ["linux", "windows", "darwin", "freebsd"] as const;
const systemAliases = new Map([["macos", "darwin"]]);

/**
 * What an image's content runs on: operating system, architecture and, for some, a variant of it.
 * A value object: two spellings of the same platform are equal, and print the same.
 */
export class Platform {
    private constructor(
        /** `linux`, `windows`, `darwin`, `freebsd`. */
        readonly os: string,
        /** As Go names it: `amd64`, `arm64`, `riscv64`. */
        readonly architecture: string,
        /** `v7` of `linux/arm/v7`; absent where there is only one, or it is the usual one (`arm64/v8`, `amd64/v1`). */
        readonly variant?: string,
    ) {}

    /**
     * Reads `os/architecture[/variant]`, in any common spelling: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`.
     * An architecture alone (`x86_64`, `arm/v7`) is Linux's.
     *
     * @throws FormatError with the nearest platform as a hint.
     */
    static parse(text: string): Platform {
        const parts = text.trim().toLowerCase().split("/");
        const alone = isArchitecture(parts[0] ?? "");
        const [os = "", name = "", variant] = alone || parts.length === 1 ? ["linux", ...parts] : parts;
        const system = systemAliases.get(os) ?? os;
        const [architecture, aliasVariant] = architectureAliases.get(name) ?? [name];
        const known =
            isOneOf(systems, system) && isOneOf(architectures, architecture) && parts.length <= (alone ? 2 : 3);
        const found = known ? canonicalVariant(architecture, variant ?? aliasVariant) : undefined;
        if (
            found === undefined ||
            (variant !== undefined && aliasVariant !== undefined && found.name !== aliasVariant)
        ) {
            throw new FormatError(
                `${quote(text)} is not a platform`,
                `a platform such as ${oneOf(["linux/amd64", "linux/arm64"])}`,
                suggestion(system, architecture),
            );
        }
        return new Platform(system, architecture, found.name);
    }

    /** `linux/arm64`, `linux/arm/v7`: the normal spelling, which {@link parse} reads back to an equal platform. */
    toString(): string {
        return [this.os, this.architecture, ...(this.variant === undefined ? [] : [this.variant])].join("/");
    }

    /** What JSON and Pulumi outputs hold: the normal spelling. */
    toJSON(): string {
        return this.toString();
    }

    /** `linux-arm64`: for names of files, builders and resources. */
    get slug(): string {
        return this.toString().replaceAll("/", "-");
    }

    equals(other: Platform): boolean {
        return this.toString() === other.toString();
    }

    /**
     * Whether every machine of that kind executes this platform's binaries itself, without emulation: the same architecture at
     * the same or a higher variant, and 386 on amd64. 32-bit ARM on arm64 is for its owner to say: {@link dependsOnProcessorOf}.
     */
    runsNativelyOn(hostArch: Platform): boolean {
        if (this.os !== hostArch.os) {
            return false;
        }
        if (this.architecture === hostArch.architecture) {
            return this.level <= hostArch.level;
        }
        return this.architecture === "386" && hostArch.architecture === "amd64";
    }

    /**
     * Whether some machines of that kind execute this platform's binaries themselves and others stop with "exec format error":
     * 32-bit ARM on arm64. Graviton2's and Graviton3's processors have AArch32; Graviton4's, Ampere's AmpereOne and Apple's do
     * not. What BuildKit claims does not tell: it counts what a handler of the kernel's emulates, too.
     */
    dependsOnProcessorOf(hostArch: Platform): boolean {
        return this.os === hostArch.os && this.architecture === "arm" && hostArch.architecture === "arm64";
    }

    private get level(): number {
        const variants = variantsOf.get(this.architecture) ?? [];
        return variants.indexOf(this.variant ?? unspokenVariants.get(this.architecture) ?? "");
    }
}

function isArchitecture(word: string): boolean {
    return isOneOf(architectures, word) || architectureAliases.has(word);
}

function isOneOf(known: readonly string[], word: string): boolean {
    return known.includes(word);
}

/** The variant as names carry it (`name` is undefined for the one left out), or nothing when there is no such variant. */
function canonicalVariant(architecture: string, variant: string | undefined): { name?: string } | undefined {
    if (variant === undefined) {
        // As in Docker: 32-bit ARM without a variant is version 7.
        return architecture === "arm" ? { name: "v7" } : {};
    }
    const name = variant.startsWith("v") ? variant : `v${variant}`;
    if (!(variantsOf.get(architecture) ?? []).includes(name)) {
        return undefined;
    }
    return unspokenVariants.get(architecture) === name ? {} : { name };
}

function suggestion(system: string, architecture: string): string | undefined {
    const os = nearest(system, systems) ?? "linux";
    const spellings = [...architectures, ...architectureAliases.keys()];
    const near = isOneOf(architectures, architecture) ? architecture : nearest(architecture, spellings);
    if (near === undefined) {
        return undefined;
    }
    const [meant, variant] = architectureAliases.get(near) ?? [near, near === "arm" ? "v7" : undefined];
    const platform = [os, meant, ...(variant === undefined ? [] : [variant])].join("/");
    const hint = didYouMean(platform, [platform]);
    const unspoken = unspokenVariants.get(meant);
    // The user may have written the variant on purpose: say which one the short name stands for.
    return unspoken === undefined || meant === "amd64" ? hint : hint?.replace("?", ` (= ${platform}/${unspoken})?`);
}
