import { describe, expect, it } from "vitest";
import type { CacheSourceArgs, CacheTargetArgs } from "../../components/images/cache-args";
import { cacheFromOf, cacheToOf } from "../../components/images/caches";

const SOURCES: [string, CacheSourceArgs, object][] = [
    [
        "registry",
        { registry: { ref: "ghcr.io/t/app:cache" } },
        { registry: { ref: "ghcr.io/t/app:cache-linux-arm64" } },
    ],
    ["registry without a tag", { registry: { ref: "r:5000/app" } }, { registry: { ref: "r:5000/app:linux-arm64" } }],
    ["local", { local: { src: "/var/cache" } }, { local: { src: "/var/cache/linux-arm64" } }],
    [
        "s3",
        {
            s3: {
                bucket: "b",
                region: "eu-west-1",
                prefix: "p/",
                endpointUrl: "https://s3.example.com",
                usePathStyle: true,
            },
        },
        {
            raw: "type=s3,bucket=b,region=eu-west-1,name=buildkit-linux-arm64,prefix=p/,endpoint_url=https://s3.example.com,use_path_style=true",
        },
    ],
    ["gha", { gha: {} }, { raw: "type=gha,scope=buildkit-linux-arm64" }],
    ["raw", { raw: "type=azblob,name=x" }, { raw: "type=azblob,name=x" }],
];

const TARGETS: [string, CacheTargetArgs, object][] = [
    [
        "registry",
        {
            registry: {
                ref: "r/app:cache",
                mode: "max",
                imageManifest: true,
                ociMediaTypes: true,
                compression: "zstd",
            },
        },
        {
            registry: {
                ref: "r/app:cache-linux-arm64",
                mode: "max",
                imageManifest: true,
                ociMediaTypes: true,
                compression: "zstd",
            },
        },
    ],
    ["local", { local: { dest: "c", ignoreError: true } }, { local: { dest: "c/linux-arm64", ignoreError: true } }],
    // The plugin's typed form loses the mode.
    [
        "local with a mode",
        { local: { dest: "c", mode: "max", ignoreError: true } },
        { raw: "type=local,dest=c/linux-arm64,mode=max,ignore-error=true" },
    ],
    [
        "local with a comma in its path",
        { local: { dest: 'a,"b', mode: "min" } },
        { raw: 'type=local,"dest=a,""b/linux-arm64",mode=min' },
    ],
    ["inline", { inline: {} }, { inline: {} }],
    [
        "s3",
        { s3: { bucket: "b", region: "r", name: "n", mode: "max", ignoreError: true } },
        { raw: "type=s3,bucket=b,region=r,name=n-linux-arm64,mode=max,ignore-error=true" },
    ],
    ["gha", { gha: { scope: "ci", mode: "max" } }, { raw: "type=gha,scope=ci-linux-arm64,mode=max" }],
    ["raw", { raw: "type=azblob,name=x" }, { raw: "type=azblob,name=x" }],
];

describe("caches", () => {
    it.each(SOURCES)("from %s", (_kind, source, expected) => {
        expect(cacheFromOf(source, "linux-arm64")).toEqual(expected);
    });

    it.each(TARGETS)("to %s", (_kind, target, expected) => {
        expect(cacheToOf(target, "linux-arm64")).toEqual(expected);
    });

    it.each(TARGETS.filter(([kind]) => kind !== "inline" && kind !== "raw"))(
        "to %s: no two platforms write the same",
        (_kind, target) => {
            expect(cacheToOf(target, "linux-amd64")).not.toEqual(cacheToOf(target, "linux-arm64"));
        },
    );
});
