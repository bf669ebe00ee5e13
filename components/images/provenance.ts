import * as pulumi from "@pulumi/pulumi";
import type { ImageIndex } from "../../resources/image-index";
import type { BuiltPlatform } from "./build";
import type { ResolvedSettings } from "./resolve";

/** Names what the fields below mean; see docs/provenance.md. */
const BUILD_TYPE = "https://buildfleet.dev/provenance/buildkit/v1";

/**
 * A SLSA v1 provenance predicate (slsa.dev/spec/v1.0/provenance): what was asked for, the hash of the context, the source
 * revision if one was given, the node and the builder. It is written by who runs Pulumi, not by the node, and claims
 * no more than that.
 */
export function provenance(
    settings: ResolvedSettings,
    index: ImageIndex,
    { platform, image, builder }: BuiltPlatform,
): pulumi.Input<Record<string, unknown>> {
    const { context, target, buildArgs, contexts, revision } = settings;
    return pulumi
        .all([index.platforms, image.contextHash, builder.name, context, target])
        .apply(([platforms, contextHash, builderName, location, stage]): Record<string, unknown> => {
            const built = platforms[platform];
            return {
                buildDefinition: {
                    buildType: BUILD_TYPE,
                    externalParameters: {
                        platform,
                        context: location,
                        contexts: Object.keys(contexts).sort(),
                        ...(stage === undefined ? {} : { target: stage }),
                        // The names alone: values may be more secret than meant.
                        buildArgs: Object.keys(buildArgs).sort(),
                    },
                    internalParameters: { emulated: built?.emulated ?? false },
                    resolvedDependencies: [
                        { name: "context", digest: { sha256: contextHash } },
                        ...(revision ? [{ name: "source", digest: { gitCommit: revision } }] : []),
                    ],
                },
                runDetails: {
                    builder: { id: `${BUILD_TYPE}/node/${built?.node ?? ""}` },
                    metadata: { invocationId: builderName },
                },
            };
        });
}
