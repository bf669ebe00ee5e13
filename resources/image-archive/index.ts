import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

/**
 * - `docker`: a tar for `docker load`, of one platform.
 * - `oci`: a tar of an OCI image layout, of one platform or all.
 * - `oci-folder`: the same as a folder.
 * - `tar`: the root file system of one platform as a tar.
 * - `local`: the same as a folder; owned by who runs Pulumi.
 */
export type ArchiveFormat = "docker" | "oci" | "oci-folder" | "tar" | "local";

export interface ImageArchiveArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** Of an image or an index. */
    digest: pulumi.Input<string>;
    format: ArchiveFormat;
    /** File or folder, relative to the stack's program. It must be free, or hold the very same. */
    path: pulumi.Input<string>;
    /** Which platform of an index: `linux/arm64`. Needed for all formats but `oci` and `oci-folder`, which take all by default. */
    platform?: pulumi.Input<string>;
    /** The name under which it is loaded: `team/app:1.4.2`; default none. */
    name?: pulumi.Input<string>;
    /** A builder in buildx's store, for `tar` and `local`: it unpacks the layers, and runs nothing of them. */
    builder?: pulumi.Input<string>;
}

/**
 * An image as a file or folder on the machine that runs Pulumi, made of what is in the registry. The same image gives the same
 * bytes. Where it is missing or changed, as on a fresh runner, the next `up` writes it again; a folder with somebody else's files in
 * it is refused, and stays as it is. Deleting the resource removes it,
 * unless it was changed meanwhile.
 */
export class ImageArchive extends OperationsResource {
    /** Of the file; of a folder, that of a listing with path, permissions and digest of each file. */
    declare readonly digest: pulumi.Output<string>;
    /** Bytes, of all files. */
    declare readonly size: pulumi.Output<number>;
    /** Where it is, as it was given. */
    declare readonly path: pulumi.Output<string>;

    constructor(name: string, { digest, ...args }: ImageArchiveArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "ImageArchive",
            name,
            {
                ...{ platform: "", name: "", builder: "" },
                ...args,
                image: digest,
                connection: pulumi.secret(args.connection ?? {}),
            },
            ["digest", "size", "stamp"],
            ["connection"],
            options,
        );
    }
}
