export type { Fleet } from "./components/builders/fleet";
export {
    LocalFleet,
    type LocalFleetArgs,
    type LocalFleetTransform,
    type NodeRegistry,
} from "./components/builders/local-fleet";
export type * from "./components/images/args";
export { BuildMatrix } from "./components/images/build-matrix";
export type * from "./components/images/cache-args";
export type * from "./components/images/git-tags-args";
export type * from "./components/images/matrix-args";
export {
    type ImageSignature,
    MultiPlatformImage,
    type PlatformSbom,
    type PlatformVulnerabilities,
} from "./components/images/multi-platform-image";
export {
    LocalRegistry,
    type LocalRegistryArgs,
    type LocalRegistryTransform,
} from "./components/registry/local-registry";
export type { EcrAccessArgs, RegistryConnectionArgs, Repository } from "./components/registry/repository";
export type { Transform } from "./components/transform";
export type { AxisValue } from "./core/build-matrix";
export { type Problem, SettingsError } from "./core/problems";
export { SigningKey, type SigningKeyArgs } from "./resources/signing-key";
