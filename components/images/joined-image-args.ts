import type * as pulumi from "@pulumi/pulumi";
import type { ImageIndexArgs } from "../../resources/image-index";
import type { SignatureArgs } from "../../resources/signature";
import type { TagPromotionArgs } from "../../resources/tag-promotion";
import type { VerificationArgs } from "../../resources/verification";
import type { RegistryConnectionArgs, Repository } from "../registry/repository";
import type { Transform } from "../transform";
import type { SignArgs } from "./args";

/** One platform's image, built elsewhere. */
export interface JoinedPart {
    /**
     * `registry/path`, with a tag or a digest. A tag is looked at by every `up`: where it has moved, the index follows. Of an index, as
     * builders push them for a single platform, too, the one image of the platform is taken.
     */
    image: pulumi.Input<string>;
    /** How its registry is reached. Default: as the repository's own, where it is the same registry; otherwise HTTPS. */
    connection?: pulumi.Input<RegistryConnectionArgs>;
    /** `linux/arm64`, in any spelling (`aarch64`). Default what the image's configuration says; where both say it, they must agree. */
    platform?: string;
    /** Written into the index although it goes without saying: `v8` of `linux/arm64`. Default what the configuration says. */
    variant?: string;
    /** Windows' build: `10.0.20348.2762`. Default what the configuration says. */
    osVersion?: string;
    /** What the system must have: `win32k`. Default what the configuration says. */
    osFeatures?: string[];
    /** What the processor must have: `sse4`. Format `docker` only. Default none. */
    features?: string[];
    /** Of its entry in the index. Format `oci` only. Default none. */
    annotations?: Record<string, pulumi.Input<string>>;
}

/** Last word on a child's arguments. */
export interface JoinedImageTransform {
    index?: Transform<ImageIndexArgs>;
    signature?: Transform<SignatureArgs>;
    verification?: Transform<VerificationArgs>;
    promotion?: Transform<TagPromotionArgs>;
}

export interface JoinedImageArgs {
    /** Where the index goes: a `Repository`, or `registry/path` alone. */
    repository: pulumi.Input<string> | Repository;
    /** One for each platform, in the order of the index; clients take the first that fits. */
    images: (pulumi.Input<string> | JoinedPart)[];
    /** OCI's image index (default), or Docker's manifest list, which takes Docker's images only. */
    format?: "oci" | "docker";
    /** Of the index. Format `oci` only. */
    annotations?: Record<string, pulumi.Input<string>>;
    /** SemVer: `1.4.2` is tagged `1.4.2`, `1.4`, `1` and `latest`, each only where nothing higher is released. */
    version?: string;
    /** Further tags. */
    tags?: string[];
    /** Tags that may be set once and never moved. */
    immutableTags?: string[];
    /** Who signs index and images, verified before a tag moves. Default nobody: what was tested elsewhere is not known here. */
    sign?: SignArgs | false;
    transform?: JoinedImageTransform;
}
