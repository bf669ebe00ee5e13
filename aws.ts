/**
 * `buildfleet/aws`: what needs `@pulumi/aws`, an optional peer. Each component is loaded when its name is first used, as those of
 * `@pulumi/aws` are: a program with a repository and no fleet loads nothing of EC2.
 */
import "./components/aws/peer";

export type * from "./components/aws/ec2-fleet";
export type * from "./components/aws/ecr-repository";
export type * from "./components/aws/image-signing-key";

export type Ec2Fleet = import("./components/aws/ec2-fleet").Ec2Fleet;
export const Ec2Fleet: typeof import("./components/aws/ec2-fleet").Ec2Fleet = undefined as never;

export type EcrRepository = import("./components/aws/ecr-repository").EcrRepository;
export const EcrRepository: typeof import("./components/aws/ecr-repository").EcrRepository = undefined as never;

export type ImageSigningKey = import("./components/aws/image-signing-key").ImageSigningKey;
export const ImageSigningKey: typeof import("./components/aws/image-signing-key").ImageSigningKey = undefined as never;

const components = {
    Ec2Fleet: () => require("./components/aws/ec2-fleet").Ec2Fleet,
    EcrRepository: () => require("./components/aws/ecr-repository").EcrRepository,
    ImageSigningKey: () => require("./components/aws/image-signing-key").ImageSigningKey,
};
for (const [name, get] of Object.entries(components)) Object.defineProperty(exports, name, { enumerable: true, get });
