import { platform, platformIdentity } from "./leaves";
import { FormatError } from "./problems";
import { parseReference } from "./reference";
import { choice, type Fault, late, text } from "./schema";
import { fields, isTable, list, textsIn } from "./schema-tables";
import { quote } from "./text";

/** The forms in which an image can be had as a file or folder. */
export const exportFormats = ["docker", "oci", "oci-folder", "tar", "local"] as const;

/** A path as a piece of a resource's name. */
export const pathSlug = (path: string) => path.replace(/[^A-Za-z0-9_]+/g, "-").replace(/^-|-$/g, "");

const path = text("a file's or folder's path", (value) => {
    if (pathSlug(value) === "") throw new FormatError(`${quote(value)} is no place of its own`, "a file or folder");
    return value;
});

const name = text('a name such as "team/app:1.4.2"', (value) => {
    const { tag, digest } = parseReference(value);
    if (tag === undefined || digest !== undefined)
        throw new FormatError(`${quote(value)} is no name with a tag`, 'a name such as "team/app:1.4.2"');
    return value;
});

/** What is left on the machine that runs Pulumi, besides the image in the registry. */
export const imageExports = late(
    list(
        fields({
            format: choice(exportFormats).describe(
                "`docker`: a tar for `docker load`; `oci`: a tar of an OCI image layout, `oci-folder` the layout itself; `tar`: the root file system, `local` the same as a folder",
            ),
            path: path.describe("File or folder, relative to the stack's program"),
            platform: platform
                .optional()
                .describe(
                    "Which platform; needed where several are built, but for `oci` and `oci-folder`, which have all",
                ),
            name: name
                .optional()
                .describe(
                    "Under which `docker load` has it; the repository with the version or the first tag when unset",
                ),
        }),
        { of: "exports", identity: (one) => (typeof one.path === "string" ? pathSlug(one.path) : undefined) },
    ),
)
    .default([])
    .describe("The released image as files or folders on the machine that runs Pulumi");

/** What can only be seen together with the platforms; a value that it can't use is another check's problem. */
export function checkExports(
    { exports: given, platforms }: Record<string, unknown>,
    tell: (path: PropertyKey[], fault: Fault) => void,
): void {
    const built = textsIn(platforms).map(({ text: one }) => platformIdentity(one));
    const allKnown = Array.isArray(platforms) && built.length === platforms.length && !built.includes(undefined);
    for (const [i, one] of (Array.isArray(given) ? given : []).entries()) {
        if (!isTable(one)) continue;
        const isRoot = one.format === "tar" || one.format === "local";
        if (isRoot && one.name !== undefined)
            tell(["exports", i, "name"], {
                found: `set for ${quote(`${one.format}`)}`,
                expected: "no name: it has none",
            });
        if (!allKnown) continue;
        const expected = `one of the platforms that are built: ${built.join(", ")}`;
        const chosen = typeof one.platform === "string" ? platformIdentity(one.platform) : undefined;
        if (chosen !== undefined && !built.includes(chosen))
            tell(["exports", i, "platform"], { found: `"${chosen}" is not built`, expected });
        if (one.platform === undefined && built.length > 1 && (isRoot || one.format === "docker"))
            tell(["exports", i, "platform"], {
                found: `missing; ${quote(`${one.format}`)} is of one platform`,
                expected,
            });
    }
}
