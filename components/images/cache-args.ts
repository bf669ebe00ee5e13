import type * as pulumi from "@pulumi/pulumi";

/**
 * A cache kept in a registry. Each platform gets a tag (`ref` with the platform's name added), since two that
 * wrote the same one would overwrite each other.
 */
export interface RegistryCache {
    /** `registry/path:tag` */
    ref: pulumi.Input<string>;
}
/** A cache in a folder; each platform gets a folder in it. */
export interface LocalCacheSource {
    src: string;
}
export interface LocalCacheTarget extends CacheTarget {
    dest: string;
}
/** A cache in a bucket; the credentials are the environment's, of whoever runs Pulumi. */
export interface S3Cache {
    bucket: string;
    region: string;
    /** Default `buildkit`; the platform's name is added. */
    name?: string;
    prefix?: string;
    endpointUrl?: string;
    usePathStyle?: boolean;
}
/** GitHub Actions' cache service. */
export interface GhaCache {
    /** Default `buildkit`; the platform's name is added. */
    scope?: string;
}
/** How much is written, and whether a cache that can't be written fails the build. */
export interface CacheTarget {
    /** `max` keeps the steps of all stages, `min` (default) the result's. */
    mode?: "min" | "max";
    /** Default false. */
    ignoreError?: boolean;
}
export interface RegistryCacheTarget extends RegistryCache, CacheTarget {
    /** ECR needs it; default false. */
    imageManifest?: boolean;
    /** ECR needs it; default true. */
    ociMediaTypes?: boolean;
    compression?: "gzip" | "estargz" | "zstd" | "uncompressed";
}
export interface S3CacheTarget extends S3Cache, CacheTarget {}
export interface GhaCacheTarget extends GhaCache, CacheTarget {}
/** The cache is written into the image itself. */
export type InlineCache = Record<string, never>;

/** Exactly one of them. `raw` is buildx's own form, taken as it is for every platform. */
export interface CacheSourceArgs {
    registry?: RegistryCache;
    local?: LocalCacheSource;
    s3?: S3Cache;
    gha?: GhaCache;
    raw?: string;
}
/** Exactly one of them. `raw` is buildx's own form, taken as it is for every platform. */
export interface CacheTargetArgs {
    registry?: RegistryCacheTarget;
    local?: LocalCacheTarget;
    inline?: InlineCache;
    s3?: S3CacheTarget;
    gha?: GhaCacheTarget;
    raw?: string;
}
