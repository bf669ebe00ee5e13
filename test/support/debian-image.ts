import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import type { RegistryClient } from "../../drivers/registry";

export interface DebianPackage {
    name: string;
    version: string;
}

/** The smallest image that scanners take for a Debian: its release file and its package database. */
export async function pushDebianImage(
    client: RegistryClient,
    repository: string,
    packages: DebianPackage[],
    architecture = "amd64",
    variant?: string,
): Promise<{ digest: string; reference: string }> {
    const status = packages.map(
        ({ name, version }) =>
            `Package: ${name}\nStatus: install ok installed\nMaintainer: T <t@example.com>\nArchitecture: ${architecture}\nVersion: ${version}\nDescription: ${name}\n`,
    );
    const layer = tarOf({
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
        "var/lib/dpkg/status": status.join("\n"),
    });
    const compressed = gzipSync(layer);
    const config = Buffer.from(
        JSON.stringify({
            architecture,
            ...(variant === undefined ? {} : { variant }),
            os: "linux",
            config: {},
            rootfs: { type: "layers", diff_ids: [sha256(layer)] },
        }),
    );
    await client.putBlob(repository, compressed);
    await client.putBlob(repository, config);
    const manifest = Buffer.from(
        JSON.stringify({
            schemaVersion: 2,
            mediaType: mediaTypes.ociManifest,
            config: {
                mediaType: "application/vnd.oci.image.config.v1+json",
                digest: sha256(config),
                size: config.length,
            },
            layers: [
                {
                    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
                    digest: sha256(compressed),
                    size: compressed.length,
                },
            ],
        }),
    );
    const digest = sha256(manifest);
    await client.putManifest(repository, digest, mediaTypes.ociManifest, manifest);
    return { digest, reference: `${client.registry}/${repository}@${digest}` };
}

function tarOf(files: Record<string, string>): Buffer {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-image-"));
    try {
        for (const [name, content] of Object.entries(files)) {
            mkdirSync(join(folder, dirname(name)), { recursive: true });
            writeFileSync(join(folder, name), content);
        }
        return execFileSync("tar", ["--create", "--directory", folder, ...Object.keys(files)]);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}
