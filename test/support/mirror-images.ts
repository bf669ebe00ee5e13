import { randomBytes } from "node:crypto";
import { type Digest, digestTag, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import type { RegistryClient } from "../../drivers/registry";

/** A layer's bytes: as little compressible as real ones, the same for the same name. */
export function layerBytes(size: number): Buffer {
    return randomBytes(size);
}

const OCI = "application/vnd.oci.image";

interface Stored {
    mediaType: string;
    digest: Digest;
    size: number;
}

async function putJson(client: RegistryClient, path: string, mediaType: string, value: object, ref?: string) {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = sha256(bytes);
    await client.putManifest(path, ref ?? digest, mediaType, bytes);
    return { mediaType, digest, size: bytes.length };
}

/** Pushes one platform's image. */
export async function pushPlatform(
    client: RegistryClient,
    path: string,
    platform: { os: string; architecture: string; variant?: string },
    layers: Buffer[],
    created = "2026-11-22T00:00:00Z",
): Promise<Stored & { platform: object }> {
    const config = { ...platform, created, config: {}, rootfs: { type: "layers", diff_ids: layers.map(sha256) } };
    const stored = [];
    for (const bytes of layers) stored.push(await client.putBlob(path, bytes, `${OCI}.layer.v1.tar+gzip`));
    const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: await client.putBlob(path, Buffer.from(JSON.stringify(config)), `${OCI}.config.v1+json`),
        layers: stored,
    };
    return { ...(await putJson(client, path, mediaTypes.ociManifest, manifest)), platform };
}

/** BuildKit's attestation of one platform's image, as it stands in the same index. */
export async function pushAttestation(client: RegistryClient, path: string, about: Stored) {
    const image = await pushPlatform(client, path, { os: "unknown", architecture: "unknown" }, [
        Buffer.from(`{"about":"${about.digest}"}`),
    ]);
    const annotations = {
        "vnd.docker.reference.digest": about.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    };
    return { ...image, annotations };
}

export function pushIndex(client: RegistryClient, path: string, manifests: object[], tag?: string): Promise<Stored> {
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
    return putJson(client, path, mediaTypes.ociIndex, index, tag);
}

/** Attaches something to a digest, as cosign does where a registry has no referrers API: by a list under a tag. */
export async function attach(client: RegistryClient, path: string, about: Stored, text: string): Promise<Stored> {
    const { platform: _, ...subject } = about as Stored & { platform?: object };
    const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        artifactType: "application/vnd.example.note",
        config: await client.putBlob(path, Buffer.from("{}"), "application/vnd.oci.empty.v1+json"),
        layers: [await client.putBlob(path, Buffer.from(text), "text/plain")],
        subject,
        annotations: { text },
    };
    const stored = await putJson(client, path, mediaTypes.ociManifest, manifest);
    const descriptor = { ...stored, artifactType: manifest.artifactType, annotations: manifest.annotations };
    const before = await client.referrers(path, about.digest);
    await pushIndex(client, path, [...before, descriptor], digestTag(about.digest));
    return stored;
}

export interface ManyImages {
    /** `team/app-0:1.0` … */
    names: string[];
    digests: string[];
    /** Unique blobs and their bytes. */
    blobs: number;
    bytes: number;
}

/** Images of two platforms that share layers: three of all, one of each five, one of their own. */
export async function pushManyImages(client: RegistryClient, count: number, layerSize: number): Promise<ManyImages> {
    const platforms = [
        { os: "linux", architecture: "amd64" },
        { os: "linux", architecture: "arm64" },
    ];
    const make = (times: number) => platforms.map(() => Array.from({ length: times }, () => layerBytes(layerSize)));
    const common = make(3);
    const perGroup = Array.from({ length: Math.ceil(count / 5) }, () => make(1));
    const made: ManyImages = { names: [], digests: [], blobs: 0, bytes: 0 };
    for (let i = 0; i < count; i++) {
        const path = `team/app-${i}`;
        const children = [];
        for (const [p, platform] of platforms.entries()) {
            const shared = [...(common[p] ?? []), ...(perGroup[Math.floor(i / 5)]?.[p] ?? [])];
            const own = layerBytes(Math.ceil(layerSize / 4));
            children.push(await pushPlatform(client, path, platform, [...shared, own], `image ${i}`));
        }
        made.digests.push((await pushIndex(client, path, children, "1.0")).digest);
        made.names.push(`${path}:1.0`);
    }
    // Layers of all, of each five, of each one; a configuration for each platform of each image.
    const layers = platforms.length * (3 + perGroup.length);
    made.blobs = layers + count * platforms.length * 2;
    made.bytes = layers * layerSize + count * platforms.length * Math.ceil(layerSize / 4);
    return made;
}
