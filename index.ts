export { ExternalFleet, type ExternalFleetArgs, type ExternalNode } from "./components/builders/external-fleet";
export type { Fleet } from "./components/builders/fleet";
export {
    LocalFleet,
    type LocalFleetArgs,
    type LocalFleetTransform,
} from "./components/builders/local-fleet";
export type * from "./components/images/args";
export { BuildMatrix } from "./components/images/build-matrix";
export type * from "./components/images/cache-args";
export type * from "./components/images/git-tags-args";
export { JoinedImage } from "./components/images/joined-image";
export type * from "./components/images/joined-image-args";
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
export type { NodeRegistry } from "./components/registry/node-registry";
export { type RegistryArgs, RegistryConnection } from "./components/registry/registry-connection";
export type {
    ClientCertificateArgs,
    EcrAccessArgs,
    RegistryConnectionArgs,
    Repository,
} from "./components/registry/repository";
export type { Transform } from "./components/transform";
export type { AxisValue } from "./core/build-matrix";
export { type Problem, SettingsError } from "./core/problems";
export { type ArchiveFormat, ImageArchive, type ImageArchiveArgs } from "./resources/image-archive";
export { SigningKey, type SigningKeyArgs } from "./resources/signing-key";
