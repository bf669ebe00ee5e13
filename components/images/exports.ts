import * as pulumi from "@pulumi/pulumi";
import { pathSlug } from "../../core/export-settings";
import { ImageArchive, type ImageArchiveArgs } from "../../resources/image-archive";
import { applyTransform } from "../transform";
import type { ImageExport } from "./args";
import type { BuiltPlatform, Scope } from "./build";

/** The released image as files and folders: nothing of what has not passed leaves the registry in this way either. */
export function createExports(scope: Scope, built: BuiltPlatform[], ref: pulumi.Output<string>): ImageExport[] {
    const { name, settings, transform, options } = scope;
    return settings.exports.map(({ format, path, ...given }) => {
        const isRoot = format === "tar" || format === "local";
        const platform = given.platform ?? (built.length === 1 ? built[0]?.platform : undefined);
        const tag = settings.version ?? settings.tags[0];
        const known = given.name ?? (tag === undefined ? undefined : pulumi.interpolate`${settings.repository}:${tag}`);
        const builder = built.find((one) => one.platform === platform)?.builder.name;
        const args: ImageArchiveArgs = {
            repository: settings.repository,
            connection: settings.connection,
            digest: ref.apply((released) => released.slice(released.indexOf("@") + 1)),
            ...{ format, path },
            ...(platform === undefined ? {} : { platform }),
            ...(isRoot && builder ? { builder } : {}),
            ...(isRoot || known === undefined ? {} : { name: known }),
        };
        const slug = pathSlug(path);
        const archive = new ImageArchive(
            `${name}-export-${slug}`,
            applyTransform(transform.export, args, slug),
            options,
        );
        return { format, path: archive.path, digest: archive.digest, size: archive.size };
    });
}
