export { Emulation, type EmulationArgs, type EmulationTransform } from "./components/builders/emulation";
export { ExternalFleet, type ExternalFleetArgs, type ExternalNode } from "./components/builders/external-fleet";
export type { Fleet } from "./components/builders/fleet";
export {
    LocalFleet,
    type LocalFleetArgs,
    type LocalFleetTransform,
} from "./components/builders/local-fleet";
export type * from "./components/builders/managed-args";
export { ManagedFleet } from "./components/builders/managed-fleet";
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
export * from "./components/registry/image-mirror";
export {
    LocalRegistry,
    type LocalRegistryArgs,
    type LocalRegistryTransform,
} from "./components/registry/local-registry";
export type { NodeRegistry } from "./components/registry/node-registry";
export { type RegistryArgs, RegistryConnection } from "./components/registry/registry-connection";
export {
    type GarbageCollectionArgs,
    RegistryServer,
    type RegistryServerArgs,
    type RegistryServerTransform,
    type RegistryTlsArgs,
} from "./components/registry/registry-server";
export type {
    ClientCertificateArgs,
    EcrAccessArgs,
    RegistryConnectionArgs,
    RegistryCredentialArgs,
    Repository,
} from "./components/registry/repository";
export { type SshArgs, sshTarget } from "./components/ssh-args";
export type { Transform } from "./components/transform";
export type { AxisValue } from "./core/build-matrix";
export { type Problem, SettingsError } from "./core/problems";
export type { EmulationDocker, EmulationHandler, EmulatorArgs } from "./resources/binfmt-handlers";
export type { DockerHost, DockerHostRegistry } from "./resources/buildx-builder";
export { type ArchiveFormat, ImageArchive, type ImageArchiveArgs } from "./resources/image-archive";
export {
    ManagedHost,
    type ManagedHostArgs,
    type ManagedHostSettings,
    type ManagedHostTls,
} from "./resources/managed-host";
export type { RegistryArtifactArgs } from "./resources/registry-service";
export { SigningKey, type SigningKeyArgs } from "./resources/signing-key";
