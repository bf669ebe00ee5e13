import type * as dockerBuild from "@pulumi/docker-build";
import * as pulumi from "@pulumi/pulumi";
import { isPlain } from "../plain";
import type { CacheSourceArgs, CacheTargetArgs, S3Cache } from "./cache-args";

// Each platform is built by itself, and of two that write one cache the last would be all that is left of it. So
// the platform's name becomes part of every cache's name, when it is read as when it is written.

type From = dockerBuild.types.input.CacheFromArgs;
type To = dockerBuild.types.input.CacheToArgs;

/** buildx's own form (`type=s3,region=…`). The plugin's typed s3 and gha caches put credentials into the state. */
function raw(type: string, attributes: Record<string, string | boolean | undefined>): string {
    const set = Object.entries(attributes).filter(([, value]) => value !== undefined && value !== "");
    return [`type=${type}`, ...set.map(([key, value]) => csvField(`${key}=${value}`))].join(",");
}

const csvField = (field: string) => (/[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

function s3Attributes(cache: S3Cache, slug: string) {
    return {
        bucket: cache.bucket,
        region: cache.region,
        name: `${cache.name ?? "buildkit"}-${slug}`,
        prefix: cache.prefix,
        endpoint_url: cache.endpointUrl,
        use_path_style: cache.usePathStyle,
    };
}

const scopeOf = (scope: string | undefined, slug: string) => `${scope ?? "buildkit"}-${slug}`;

/** `registry/app:cache` becomes `registry/app:cache-linux-arm64`; without a tag, `registry/app:linux-arm64`. */
function platformRef(ref: pulumi.Input<string>, slug: string): pulumi.Input<string> {
    const named = (text: string) => {
        const tagged = text.lastIndexOf(":") > text.lastIndexOf("/");
        return tagged ? `${text}-${slug}` : `${text}:${slug}`;
    };
    return isPlain(ref) ? named(ref) : pulumi.output(ref).apply(named);
}

export function cacheFromOf(source: CacheSourceArgs, slug: string): From {
    if (source.registry) return { registry: { ref: platformRef(source.registry.ref, slug) } };
    if (source.local) return { local: { src: `${source.local.src}/${slug}` } };
    if (source.s3) return { raw: raw("s3", s3Attributes(source.s3, slug)) };
    if (source.gha) return { raw: raw("gha", { scope: scopeOf(source.gha.scope, slug) }) };
    return { raw: source.raw ?? "" };
}

export function cacheToOf(target: CacheTargetArgs, slug: string): To {
    if (target.registry)
        return { registry: { ...target.registry, ref: platformRef(target.registry.ref, slug) } as To["registry"] & {} };
    if (target.inline) return { inline: {} };
    const how = (mode?: string, ignoreError?: boolean) => ({ mode, "ignore-error": ignoreError });
    if (target.local) {
        const { dest, mode, ignoreError } = target.local;
        const path = `${dest}/${slug}`;
        // The plugin drops the mode of its typed form, and would write `min` where `max` was asked for.
        if (mode !== undefined) return { raw: raw("local", { dest: path, ...how(mode, ignoreError) }) };
        return { local: { dest: path, ...(ignoreError === undefined ? {} : { ignoreError }) } };
    }
    if (target.s3) {
        const { mode, ignoreError } = target.s3;
        return { raw: raw("s3", { ...s3Attributes(target.s3, slug), ...how(mode, ignoreError) }) };
    }
    if (target.gha) {
        const { mode, ignoreError, scope } = target.gha;
        return { raw: raw("gha", { scope: scopeOf(scope, slug), ...how(mode, ignoreError) }) };
    }
    return { raw: target.raw ?? "" };
}
