import type { z } from "zod";
import { archiveUrl, sha256 } from "../artifact-leaves";
import { parseDockerEndpoint } from "../docker-host-settings";
import { platformIdentity } from "../leaves";
import { Platform } from "../platform";
import { FormatError } from "../problems";
import { parseReference } from "../reference";
import { always, faultIn, late, report, text } from "../schema";
import { fields, isTable, list, table, textsIn } from "../schema-tables";
import { checkSettings, type Late } from "../settings";
import { sshSettings } from "../ssh-settings";
import { oneOf, quote } from "../text";
import { emulatedArchitectures, isEmulated } from "./binfmt";

/** A platform that an emulator runs, in its normal spelling. */
function emulatedPlatform(value: string): string {
    const parsed = Platform.parse(value);
    if (parsed.os !== "linux" || !isEmulated(parsed.architecture)) {
        const names = emulatedArchitectures.map((name) => `linux/${name}`);
        throw new FormatError(`${quote(value)} can't be emulated`, oneOf(names));
    }
    return `${parsed}`;
}

const emulator = fields({
    url: archiveUrl.describe("HTTPS; plain HTTP only to a private host"),
    sha256: sha256.describe("Of what the URL serves"),
});

const pinnedExpected = 'an image with its digest, such as "registry.room:5000/tonistiigi/binfmt@sha256:…"';

/** It gets all rights on the host: which one is not left to a tag. */
const pinnedImage = text(pinnedExpected, (value) => {
    if (parseReference(value).digest === undefined)
        throw new FormatError(`${quote(value)} names no digest`, pinnedExpected, "an ImageMirror's refs have them");
    return value;
});

const docker = fields({
    endpoint: text('a Docker daemon such as "unix:///var/run/docker.sock"', parseDockerEndpoint).describe(
        "The daemon's: `unix://` or `ssh://user@host`",
    ),
    image: pinnedImage.describe("tonistiigi/binfmt, or one whose program takes the same arguments; with its digest"),
});

/** The arguments of an `Emulation`. */
export function emulationSettings() {
    return fields({
        ssh: late(sshSettings()).optional().describe("The host; the machine that runs Pulumi when unset"),
        docker: late(docker).optional().describe("The host's Docker daemon, in place of `ssh`"),
        platforms: list(text('a platform such as "linux/arm64"', emulatedPlatform), {
            of: "platforms",
            min: 1,
            identity: architectureOf,
        }).describe("What is emulated; one of each architecture"),
        emulators: table(late(emulator), "emulators by platform", (name) => faultIn(() => emulatedPlatform(name)))
            .default({})
            .describe("Static programs of qemu-user that the host fetches; those of its own package when unset"),
    })
        .superRefine(checkWays, always)
        .superRefine(checkEmulators, always);
}

/** Through Docker it is the image that has the emulators, and the daemon that reaches the host. */
function checkWays(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || value.docker === undefined) return;
    const isUsed = {
        ssh: value.ssh !== undefined,
        emulators: isTable(value.emulators) && Object.keys(value.emulators).length > 0,
    };
    for (const name of ["ssh", "emulators"] as const)
        if (isUsed[name]) report(ctx, { found: "set together with docker", expected: "one of them" }, [name]);
}

/** One handler is for an architecture: `linux/arm/v6` and `linux/arm/v7` are the same one. */
function architectureOf(value: string): string | undefined {
    const identity = platformIdentity(value);
    return identity === undefined ? undefined : Platform.parse(identity).architecture;
}

/** An emulator that nothing asks for is more likely a slip than a wish. */
function checkEmulators(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || !isTable(value.emulators) || !Array.isArray(value.platforms)) return;
    const asked = textsIn(value.platforms).map(({ text: name }) => platformIdentity(name));
    if (asked.length < value.platforms.length) return;
    for (const name of Object.keys(value.emulators)) {
        const identity = platformIdentity(name);
        if (identity !== undefined && !asked.includes(identity)) {
            const expected = `one of the platforms: ${asked.join(", ")}`;
            report(ctx, { found: "this platform is not emulated here", expected }, ["emulators", name]);
        }
    }
}

/** An `Emulation`'s arguments after parsing, defaults filled in. */
export type EmulationSettings = z.output<ReturnType<typeof emulationSettings>>;

/** @throws SettingsError with every problem at once. */
export function checkEmulationSettings(subject: string, value: unknown): Late<EmulationSettings> {
    return checkSettings(subject, emulationSettings() as z.ZodType<EmulationSettings>, value);
}
