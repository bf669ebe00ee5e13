import { readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { isDigest } from "../core/digest";
import { parseReference } from "../core/reference";
import { run } from "./process";
import type { ClientCertificateFiles } from "./registry-access";
import { inTemporaryFolder } from "./temporary-folder";
import { emptyConfiguration, withoutVariables } from "./tool-settings";

/** Which image to list the packages of, and how to reach it. */
export interface SbomRequest {
    /** `host/repository@sha256:…`, one platform's manifest: an index would be resolved to this machine's platform. */
    reference: string;
    /** The folder the files are written to. */
    outDir: string;
    plainHttp: boolean;
    /** Folder of the Docker configuration with the registry's credentials. */
    dockerConfig?: string;
    /** Path of the registry's CA, PEM. */
    ca?: string;
    /** For a registry that asks for one: paths of PEM files. */
    clientCertificate?: ClientCertificateFiles;
    /** `linux/arm64`; an image of another platform is refused. */
    platform?: string;
    timeoutMs?: number;
    signal?: AbortSignal;
}

/** A software bill of materials, in the form scanners read and in the form that is attested. */
export interface Sbom {
    /** syft's own format. */
    syftJsonPath: string;
    /** SPDX 2.3, JSON. */
    spdxJsonPath: string;
    /** How many packages were found. */
    packages: number;
    syftVersion: string;
    durationMs: number;
}

/** What is relied on of syft's format (anchore/syft: schema/json; the major version changes when it breaks). */
const syftDocument = z.object({
    artifacts: z.array(z.object({ name: z.string(), version: z.string() })),
    source: z.object({
        type: z.string(),
        metadata: z.object({ manifestDigest: z.string().optional() }),
    }),
    descriptor: z.object({ name: z.literal("syft"), version: z.string() }),
    schema: z.object({ version: z.string().startsWith("16.") }),
});

/**
 * Lists an image's packages with syft.
 *
 * Default catalogers and file digests: nearly all of its time goes into unpacking the layers, and SPDX wants a SHA-1 of
 * every file it names, so that leaving them out would save little and make a worse document.
 *
 * @throws CommandError when syft fails, Error when what it wrote is not about this image or not understood.
 */
export async function generateSbom(request: SbomRequest): Promise<Sbom> {
    const { digest, registry } = parseReference(request.reference);
    if (digest === undefined) {
        throw new Error(`${request.reference}: a bill of materials is made of a digest, not of a tag that may move`);
    }
    const outDir = resolve(request.outDir);
    return inTemporaryFolder(async (folder) => {
        const [syftJson, spdxJson] = [join(folder, "sbom.syft.json"), join(folder, "sbom.spdx.json")];
        const { durationMs } = await run(
            "syft",
            [
                "scan",
                `registry:${request.reference}`,
                ...["--config", emptyConfiguration(folder)],
                ...(request.platform ? ["--platform", request.platform] : []),
                ...["-o", `syft-json=${syftJson}`, "-o", `spdx-json=${spdxJson}`],
            ],
            {
                cwd: folder,
                env: {
                    ...withoutVariables("SYFT_"),
                    SYFT_CHECK_FOR_APP_UPDATE: "false",
                    SYFT_REGISTRY_INSECURE_USE_HTTP: String(request.plainHttp),
                    SYFT_REGISTRY_CA_CERT: request.ca ? resolve(request.ca) : undefined,
                    ...clientVariables(request, registry),
                    TMPDIR: folder,
                    ...(request.dockerConfig ? { DOCKER_CONFIG: resolve(request.dockerConfig) } : {}),
                },
                timeoutMs: request.timeoutMs,
                cpuBound: true,
                signal: request.signal,
                where: request.reference,
            },
        );
        const { packages, manifestDigest, syftVersion } = readSyftJson(syftJson);
        if (manifestDigest !== digest) {
            const found = manifestDigest ?? "no image";
            throw new Error(`syft ${syftVersion} read ${found} where ${request.reference} was asked for`);
        }
        // syft creates its files before it reads the image: only here are they whole.
        const sbom = { syftJsonPath: join(outDir, "sbom.syft.json"), spdxJsonPath: join(outDir, "sbom.spdx.json") };
        renameSync(syftJson, sbom.syftJsonPath);
        renameSync(spdxJson, sbom.spdxJsonPath);
        return { ...sbom, packages, syftVersion, durationMs };
    }, outDir);
}

/** syft: cmd/syft/internal/options/registry.go. The name and password stay those of Docker's configuration. */
function clientVariables({ clientCertificate }: SbomRequest, registry: string): Record<string, string> {
    if (!clientCertificate) return {};
    return {
        SYFT_REGISTRY_AUTH_AUTHORITY: registry,
        SYFT_REGISTRY_AUTH_TLS_CERT: resolve(clientCertificate.certificate),
        SYFT_REGISTRY_AUTH_TLS_KEY: resolve(clientCertificate.privateKey),
    };
}

/**
 * Reads a bill of materials in syft's format.
 * @throws Error when it is of a shape this version does not know.
 */
export function readSyftJson(path: string): { packages: number; manifestDigest?: string; syftVersion: string } {
    const parsed = syftDocument.safeParse(JSON.parse(readFileSync(path, "utf8")));
    if (!parsed.success) {
        throw new Error(
            `${path}: not a bill of materials of a syft this version knows:\n${z.prettifyError(parsed.error)}`,
        );
    }
    const { artifacts, source, descriptor } = parsed.data;
    const { manifestDigest } = source.metadata;
    return {
        packages: artifacts.length,
        syftVersion: descriptor.version,
        ...(manifestDigest !== undefined && isDigest(manifestDigest) ? { manifestDigest } : {}),
    };
}
