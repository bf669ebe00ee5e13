import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { RegistryClient } from "../../drivers/registry";
import { findTool } from "../../drivers/tools";

const LAYER = "application/vnd.oci.image.layer.v1.tar";
const CONFIG = "application/vnd.oci.image.config.v1+json";

/**
 * BuildKit's image as a machine room without a way out makes it: the daemon and its client, which are static, and runc with the
 * libraries that it is linked to. Pushed to a plain-HTTP registry.
 *
 * @param label makes another image of it, with another digest
 * @returns `registry/repository:tag`
 */
export async function pushBuildkitImage(
    registry: string,
    { repository = "moby/buildkit", tag = "v0.33.1", label = "" } = {},
): Promise<string> {
    const layer = layerOf((copy) => {
        for (const tool of ["buildkitd", "buildctl", "runc"]) copy(findTool(tool), `usr/bin/${tool}`);
        for (const library of librariesOf(findTool("runc"))) copy(library, library);
    });
    const config = { Env: ["PATH=/usr/bin"], Entrypoint: ["buildkitd"], Labels: { label } };
    await pushLayer(registry, repository, tag, layer, config);
    return `${registry}/${repository}:${tag}`;
}

/**
 * Pushes an image of this machine's architecture and one layer to a plain-HTTP registry.
 *
 * @returns its digest
 */
export async function pushLayer(
    registry: string,
    repository: string,
    tag: string,
    layer: Buffer,
    settings: object,
): Promise<string> {
    const config = Buffer.from(
        JSON.stringify({
            architecture: process.arch === "arm64" ? "arm64" : "amd64",
            os: "linux",
            config: settings,
            rootfs: { type: "layers", diff_ids: [sha256(layer)] },
        }),
    );
    const client = new RegistryClient({ registry, plainHttp: true });
    try {
        await client.putBlob(repository, layer);
        await client.putBlob(repository, config);
        const manifest = Buffer.from(
            JSON.stringify({
                schemaVersion: 2,
                mediaType: mediaTypes.ociManifest,
                config: { mediaType: CONFIG, digest: sha256(config), size: config.length },
                layers: [{ mediaType: LAYER, digest: sha256(layer), size: layer.length }],
            }),
        );
        await client.putManifest(repository, tag, mediaTypes.ociManifest, manifest);
        return sha256(manifest);
    } finally {
        await client.close();
    }
}

/** A tar of a file system with what `fill` copies into it from this machine's; the same bytes each time. */
export function layerOf(fill: (copy: (from: string, to: string) => void, root: string) => void): Buffer {
    const root = mkdtempSync(join(tmpdir(), "buildkit-image-"));
    try {
        const copy = (from: string, to: string) => {
            mkdirSync(join(root, dirname(to)), { recursive: true });
            copyFileSync(realpathSync(from), join(root, to));
        };
        for (const folder of ["etc", "tmp", "run", "var/lib"]) mkdirSync(join(root, folder), { recursive: true });
        fill(copy, root);
        const same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
        return execFileSync("tar", ["--create", ...same, "--directory", root, "."], { maxBuffer: 512 * 1024 * 1024 });
    } finally {
        rmSync(root, { recursive: true, force: true });
    }
}

/** Paths of the shared libraries, the loader among them. */
export function librariesOf(binary: string): string[] {
    const listed = execFileSync("ldd", [binary], { encoding: "utf8" });
    const paths = [...listed.matchAll(/(\/\S+)\s+\(0x/g)].map(([, path = ""]) => path);
    if (paths.length === 0) throw new Error(`ldd names no library of ${basename(binary)}:\n${listed}`);
    return paths;
}
