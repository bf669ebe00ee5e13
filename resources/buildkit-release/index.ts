import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

/** A file and the SHA-256 of its bytes. */
export interface BuildkitArtifact {
    /** `https://…/buildkit-v0.33.1.linux-arm64.tar.gz` */
    url: string;
    /** 64 hexadecimal digits. */
    sha256: string;
}

export interface BuildkitReleaseArgs {
    /** `0.33.1` */
    version: pulumi.Input<string>;
    /** `["amd64", "arm64"]` */
    architectures: pulumi.Input<pulumi.Input<string>[]>;
    /** GitHub's API, or a mirror of it; default `https://api.github.com`. */
    apiUrl?: pulumi.Input<string>;
}

/**
 * The files of a release of BuildKit, with the digests that GitHub states for them. Asked once and then kept in the state:
 * a file that changed on GitHub later is refused by the machines that download it. The environment's `GITHUB_TOKEN` is used
 * where it is set: without one GitHub answers 60 requests an hour.
 */
export class BuildkitRelease extends OperationsResource {
    /** By architecture. */
    declare readonly artifacts: pulumi.Output<Record<string, BuildkitArtifact>>;

    constructor(name: string, args: BuildkitReleaseArgs, options?: pulumi.CustomResourceOptions) {
        super("BuildkitRelease", name, { apiUrl: "https://api.github.com", ...args }, ["artifacts"], [], options);
    }
}
