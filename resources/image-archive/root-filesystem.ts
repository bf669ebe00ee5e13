import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { timedFromPlace } from "../../drivers/admission/socket";
import { run } from "../../drivers/process";
import type { RegistryAccess } from "../../drivers/registry-access";
import { inTemporaryFolder } from "../../drivers/temporary-folder";

interface RootFilesystem {
    /** `registry/path@digest` of one image. */
    image: string;
    platform: string;
    builder: string;
    /** A tar, or a folder. */
    type: "tar" | "local";
    path: string;
}

/** Has a builder put an image's layers together. Nothing of the image runs, so any builder can do it for any platform. */
export async function exportRoot({ image, platform, builder, type, path }: RootFilesystem, access: RegistryAccess) {
    await mkdir(dirname(path), { recursive: true });
    // The plugin's own tar export fails (FileSend is not supported by its client): buildx does it.
    await inTemporaryFolder((folder) =>
        run(
            "docker-buildx",
            [
                ...["build", "--builder", builder, "--platform", platform, "--progress", "plain"],
                ...["--provenance=false", "--sbom=false", "--output", `type=${type},dest=${path}`, "-"],
            ],
            {
                input: `FROM ${image}\n`,
                where: `builder ${builder}`,
                ...timedFromPlace(builder),
                next: "check that the builder's node reaches the registry",
                env: { TMPDIR: folder, ...access.env },
            },
        ),
    );
}
