import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import type { RegistryClient } from "../../drivers/registry";

/** What an image's configuration says of its platform. */
export interface SmallPlatform {
    os: string;
    architecture: string;
    variant?: string;
    "os.version"?: string;
    "os.features"?: string[];
}

export interface SmallImage {
    digest: string;
    mediaType: string;
    size: number;
    bytes: Buffer;
    layer: string;
}

interface SmallOptions {
    /** Where a tag is to point at it; by digest alone otherwise. */
    tag?: string;
    format?: "oci" | "docker";
    /** Of the one layer, by path; default a file that names the platform. */
    files?: Record<string, string>;
}

const types = {
    oci: {
        manifest: mediaTypes.ociManifest,
        config: "application/vnd.oci.image.config.v1+json",
        layer: "application/vnd.oci.image.layer.v1.tar+gzip",
    },
    docker: {
        manifest: mediaTypes.dockerManifest,
        config: "application/vnd.docker.container.image.v1+json",
        layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
};

/** The tar of a few files, as `tar` makes it. */
function tarOf(files: Record<string, string>): Buffer {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-small-"));
    try {
        for (const [name, content] of Object.entries(files)) {
            mkdirSync(join(folder, dirname(name)), { recursive: true });
            writeFileSync(join(folder, name), content);
        }
        return execFileSync("tar", ["--create", "--mtime=@0", "--directory", folder, ...Object.keys(files)]);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/** An image of one layer for any platform, as a builder would have pushed it. */
export async function pushSmallImage(
    client: RegistryClient,
    path: string,
    platform: SmallPlatform,
    { tag, format = "oci", files = { "etc/platform": JSON.stringify(platform) } }: SmallOptions = {},
): Promise<SmallImage> {
    const type = types[format];
    const layer = tarOf(files);
    const compressed = gzipSync(layer);
    const config = Buffer.from(
        JSON.stringify({ ...platform, config: {}, rootfs: { type: "layers", diff_ids: [sha256(layer)] } }),
    );
    const [layerDescriptor, configDescriptor] = await Promise.all([
        client.putBlob(path, compressed, type.layer),
        client.putBlob(path, config, type.config),
    ]);
    const manifest = {
        schemaVersion: 2,
        mediaType: type.manifest,
        config: configDescriptor,
        layers: [layerDescriptor],
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = sha256(bytes);
    await client.putManifest(path, tag ?? digest, type.manifest, bytes);
    return { digest, mediaType: type.manifest, size: bytes.length, bytes, layer: sha256(compressed) };
}
