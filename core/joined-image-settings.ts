import { z } from "zod";
import { sign } from "./gate-settings";
import { crossChecks } from "./image-checks";
import { type IndexPlatform, platformFaults, platformIdentityOf } from "./index-platform";
import { platform, repository, unshown } from "./leaves";
import { FormatError } from "./problems";
import { parseReference } from "./reference";
import { always, choice, type Fault, faultIn, late, report, text } from "./schema";
import { fields, isTable, list, table } from "./schema-tables";
import { checkSettings, type Late } from "./settings";
import { tagSettings } from "./tag-settings";
import { quote } from "./text";

const imageExpected = 'an image with its tag or digest, such as "registry.example.com/team/app:1.4.2-arm64"';

/** An image that is there. One without tag and digest would be whatever `latest` is: that has to be written. */
const image = text(imageExpected, (value) => {
    const { tag: named, digest } = parseReference(value);
    if (named === undefined && digest === undefined) {
        const hint = `write which: ${quote(`${value}:latest`)}, or better a digest`;
        throw new FormatError(`${quote(value)} names neither tag nor digest`, imageExpected, hint);
    }
    return value;
});

const feature = text("a feature's name");
const features = () => late(list(feature, { of: "features", identity: (word) => word })).optional();

const part = fields({
    image: image.describe("What is joined; copied into the repository where it is elsewhere"),
    platform: platform.optional().describe("What it must be for; what its configuration says when unset"),
    variant: text("a variant such as v8")
        .optional()
        .describe("Written into the index although it goes without saying (`v8` of `linux/arm64`)"),
    osVersion: text("a version such as 10.0.20348.2762")
        .optional()
        .describe("Windows' build, where images differ in it"),
    osFeatures: features().describe("What the system must have: `win32k`"),
    features: features().describe('What the processor must have: `sse4`; format "docker" only'),
    annotations: late(table(unshown, "annotations")).default({}).describe("Of its entry in the index; OCI only"),
});

/** The schema of a JoinedImage's plain arguments: how registries are reached is not among them. */
export function joinedImageSettings() {
    return fields({
        repository: late(repository)
            .optional()
            .describe("Where the index goes; or a `Repository`, which says how it is reached, too"),
        images: late(list(z.union([image, part]), { of: "images", min: 1 })).describe(
            "One for each platform, in the order of the index",
        ),
        format: choice(["oci", "docker"])
            .default("oci")
            .describe("OCI's image index, or Docker's manifest list, which takes Docker's images only"),
        annotations: late(table(unshown, "annotations")).default({}).describe("Of the index; OCI only"),
        ...tagSettings(),
        sign: sign.default(false).describe("Who signs index and images; nobody when unset"),
    }).superRefine((value, ctx) => {
        crossChecks(value, ctx);
        if (isTable(value)) joinChecks(value, (path, fault) => report(ctx, fault, path));
    }, always);
}

/** What can only be seen in several settings together; a value that it can't use is another check's problem. */
function joinChecks({ images, format, annotations }: Record<string, unknown>, tell: Tell): void {
    const docker = format === "docker";
    if (docker && isTable(annotations) && Object.keys(annotations).length > 0) tell(["annotations"], notInLists);
    const seen = new Map<string, number>();
    for (const [i, one] of (Array.isArray(images) ? images : []).entries()) {
        if (!isTable(one)) continue;
        const path = ["images", i];
        if (docker && isTable(one.annotations) && Object.keys(one.annotations).length > 0)
            tell([...path, "annotations"], notInLists);
        checkPlatform(one, path, docker, seen, tell);
    }
}

type Tell = (path: PropertyKey[], fault: Fault) => void;

const notInLists = { found: "set for a Docker manifest list, which has none", expected: 'format "oci"' };

/** What says more of a platform. */
const details = ["variant", "osVersion", "osFeatures", "features"] as const;

function checkPlatform(
    one: Record<string, unknown>,
    path: PropertyKey[],
    docker: boolean,
    seen: Map<string, number>,
    tell: Tell,
): void {
    if (one.platform === undefined) {
        for (const name of details.filter((detail) => one[detail] !== undefined)) {
            const hint = "set platform, too";
            tell([...path, name], { found: "set without a platform", expected: "a platform that it is said of", hint });
        }
        return;
    }
    const declared = declaredIn(one);
    if (declared === undefined) return;
    for (const { path: at, ...fault } of platformFaults(declared, "", docker)) {
        // Words that are empty or repeated are told by the list's own check.
        const name = /^\.(variant|features)$/.exec(at)?.[1];
        if (name !== undefined) tell([...path, name], fault);
    }
    if (faultIn(() => platformIdentityOf(declared)) !== undefined) return;
    const key = platformIdentityOf(declared);
    const earlier = seen.get(key);
    if (earlier === undefined) seen.set(key, Number(path[1]));
    else tell([...path, "platform"], { found: `the same as images[${earlier}]'s`, expected: "each platform once" });
}

/** The platform, where all that is said of it can be used. */
function declaredIn({ platform: name, ...rest }: Record<string, unknown>): IndexPlatform | undefined {
    const isWords = (value: unknown) => Array.isArray(value) && value.every((word) => typeof word === "string");
    const usable = details.every(
        (detail) => rest[detail] === undefined || typeof rest[detail] === "string" || isWords(rest[detail]),
    );
    if (!usable || typeof name !== "string" || faultIn(() => platformIdentityOf(name)) !== undefined) return undefined;
    const said = details.filter((detail) => rest[detail] !== undefined).map((detail) => [detail, rest[detail]]);
    return { name, ...Object.fromEntries(said) };
}

/** A JoinedImage's arguments after the check. */
export type JoinedImageSettings = z.output<ReturnType<typeof joinedImageSettings>>;

/**
 * Checks arguments of which some are not known yet: `Unresolved` stands for those, and stays in the result.
 *
 * @param subject `JoinedImage "app"`.
 * @throws SettingsError with every problem at once.
 */
export function checkJoinedImageSettings(subject: string, value: unknown): Late<JoinedImageSettings> {
    return checkSettings(subject, joinedImageSettings() as z.ZodType<JoinedImageSettings>, value);
}
