import type { LocalSettings } from "../core/local-settings";
import type { MultiPlatformImage } from "../index";

/** What the image's settings say of its arguments, in every program alike. */
export function imageArgs(image: Omit<LocalSettings["image"], "repository">) {
    const { context, dockerfile, target, platforms, version, tags } = image;
    return {
        context,
        ...(dockerfile === undefined ? {} : { dockerfile }),
        ...(target === undefined ? {} : { target }),
        platforms,
        version,
        tags,
    };
}

/** The outputs of a program that releases an image. */
export function outputsOfImage(image: MultiPlatformImage): Record<string, unknown> {
    const { ref, digest, tags, platforms, vulnerabilities, sbom, signature } = image;
    return { ref, digest, tags, platforms, vulnerabilities, sbom, signature };
}
