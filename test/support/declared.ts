import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import type { MockMonitor, MockResourceArgs } from "@pulumi/pulumi/runtime/mocks";
import { AWS_OUTPUTS } from "./declared-aws";

/** A resource as the program declared it to the engine. */
export interface Declared {
    /** `BuildxBuilder`; `docker-build:index:Image` where it is not ours. */
    type: string;
    name: string;
    /** The parent's name; empty for the stack itself. */
    parent: string;
    /** Secrets in the clear; `secrets` says which they are. */
    // biome-ignore lint/suspicious/noExplicitAny: inputs are whatever a resource takes
    inputs: Record<string, any>;
    /** Paths of the secret inputs: `signer`, `registries`. */
    secrets: string[];
    /** Names of the resources it was told to wait for, or whose outputs are among its inputs. */
    dependsOn: string[];
    retainOnDelete: boolean;
    secretOutputs: string[];
    /** The dynamic provider's text; empty for others. */
    provider: string;
    /** Name of the provider resource that it was given; empty for the default one. */
    madeBy: string;
    replaceOnChanges: string[];
    deleteBeforeReplace: boolean;
}

/** Answers of the functions that a program calls, by token: `aws:ec2/getSubnet:getSubnet`. */
// biome-ignore lint/suspicious/noExplicitAny: inputs are whatever a function takes
export type Calls = Record<string, (inputs: any) => Record<string, unknown>>;

const SECRET = "4dabf18193072939515e22adb298388d";
const DYNAMIC = "pulumi-nodejs:dynamic/buildfleet:";
const lastOf = (urn: string) => urn.slice(urn.lastIndexOf("::") + 2).replace("urn:pulumi:", "");

/** Digest of a name: what a resource of this name has built. */
export const digestOf = (name: string) => `sha256:${createHash("sha256").update(name).digest("hex")}`;

const stored = (name: string) => ({ digest: digestOf(name), size: 1000 });

/** What each type answers beside its inputs; a type that is not here is an error. */
const OUTPUTS: Record<string, (args: MockResourceArgs) => Record<string, unknown>> = {
    ...AWS_OUTPUTS,
    BuildxBuilder: ({ inputs }) => ({
        nodeName: `node of ${inputs.platform}`,
        endpoint: "tcp://node",
        emulated: false,
    }),
    "docker-build:index:Image": ({ name }) => ({ digest: digestOf(name), contextHash: "c0ffee" }),
    GitTags: () => ({
        commit: "0123456789abcdef0123456789abcdef01234567",
        branch: "main",
        dirty: false,
        tags: ["main", "sha-0123456789ab"],
        version: "1.4.2",
    }),
    ImageIndex: ({ name, inputs }) => ({
        digest: digestOf(name),
        platforms: Object.fromEntries(
            inputs.children.map(({ platform, digest, node, emulated }: Record<string, unknown>) => [
                platform,
                { digest, size: 1, node, emulated, durationMs: 1 },
            ]),
        ),
        entries: inputs.children.map(({ platform, digest, image }: Record<string, string>) => ({
            platform,
            digest: digest || digestOf(image ?? ""),
            source: image,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            size: 1,
        })),
    }),
    ImageArchive: ({ name, inputs }) => ({ digest: digestOf(name), size: 1000, path: inputs.path }),
    ImageMirror: ({ inputs }) => ({
        digests: Object.fromEntries(Object.keys(inputs.images).map((key) => [key, digestOf(key)])),
        refs: {},
        copied: { blobs: 3, bytes: 300 },
        mounted: { blobs: 1, bytes: 100 },
        skipped: { blobs: 2, bytes: 200 },
        contents: digestOf("contents"),
    }),
    ManagedHost: ({ name }) => ({ system: "Debian GNU/Linux 12 (bookworm)", installation: `installation of ${name}` }),
    PlatformTest: () => ({ entrypoint: "/app" }),
    Sbom: ({ name }) => ({ spdx: stored(`${name} spdx`), syft: stored(`${name} syft`), packages: 7 }),
    VulnerabilityScan: ({ name }) => ({
        counts: { critical: 0, high: 1, medium: 0, low: 0, negligible: 0, unknown: 0 },
        packages: 7,
        scannedBy: "grype 1.2.3",
        source: "public",
        advisories: 0,
        document: stored(name),
    }),
    Attestation: ({ inputs }) => ({ reference: `${inputs.repository}@${inputs.digest}` }),
    Signature: () => ({ publicKey: "public half" }),
    Verification: ({ inputs }) => ({ verifiedDigest: inputs.digest }),
    TagPromotion: ({ inputs }) => ({ ref: `${inputs.repository}@${inputs.digest}`, promoted: inputs.tags }),
    CertificateAuthority: () => ({ certificate: "ca", privateKey: "ca key", trustBundle: "ca and the one before" }),
    Certificate: ({ name }) => ({ certificate: `certificate ${name}`, privateKey: `key ${name}` }),
    RegistryCheck: ({ inputs }) => ({ checked: inputs.repository }),
    RegistryLogin: () => ({ madeAt: "2026-11-22T09:00:00.000Z" }),
    "pulumi:providers:docker-build": () => ({}),
    LocalProcess: ({ name, inputs }) => ({ address: `127.0.0.1:${inputs.port || name.length}`, listenPort: 1, pid: 1 }),
    SigningKey: () => ({ privateKey: "private half", password: "password", publicKey: "public half" }),
    "pulumi:providers:aws": () => ({}),
    "aws:ecr/repository:Repository": ({ name, inputs }) => ({
        name: inputs.name ?? `${name}-1a2b3c4`,
        arn: `arn:aws:ecr:eu-central-1:123456789012:repository/${inputs.name}`,
        repositoryUrl: `123456789012.dkr.ecr.eu-central-1.amazonaws.com/${inputs.name}`,
        registryId: "123456789012",
    }),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": () => ({}),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": () => ({}),
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": () => ({}),
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": () => ({}),
    "aws:kms/key:Key": ({ name }) => ({ arn: `arn:aws:kms:eu-central-1:123456789012:key/${name}`, keyId: name }),
    "aws:kms/alias:Alias": ({ inputs }) => ({
        name: inputs.name,
        arn: `arn:aws:kms:eu-central-1:123456789012:${inputs.name}`,
    }),
    "aws:kms/keyPolicy:KeyPolicy": () => ({}),
    "buildfleet:aws:EcrRepository": () => ({}),
    "buildfleet:aws:ImageSigningKey": () => ({}),
    "buildfleet:index:JoinedImage": () => ({}),
    "buildfleet:index:ImageMirror": () => ({}),
    "buildfleet:index:ExternalFleet": () => ({}),
    BinfmtHandlers: ({ inputs }) => ({
        handlers: Object.fromEntries(
            inputs.platforms.map((platform: string) => [
                platform,
                { handler: "qemu", interpreter: "/qemu", ours: true },
            ]),
        ),
    }),
    RegistryService: () => ({}),
    "buildfleet:index:Emulation": () => ({}),
    "buildfleet:index:RegistryServer": () => ({}),
    "buildfleet:index:LocalFleet": () => ({}),
    "buildfleet:index:ManagedFleet": () => ({}),
    "buildfleet:index:LocalRegistry": () => ({}),
    "buildfleet:index:MultiPlatformImage": () => ({}),
};

const shortType = (type: string) => (type.startsWith(DYNAMIC) ? type.slice(DYNAMIC.length) : type);

function clear(value: unknown, path: string, secrets: Set<string>): unknown {
    if (Array.isArray(value)) return value.map((item, i) => clear(item, `${path}[${i}]`, secrets));
    if (typeof value !== "object" || value === null) return value;
    if (SECRET in value) {
        secrets.add(path);
        return clear((value as { value?: unknown }).value, path, secrets);
    }
    const inside = (key: string) => (path === "" ? key : `${path}.${key}`);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clear(item, inside(key), secrets)]));
}

/** As the engine does with the outputs a resource names in `additionalSecretOutputs`. */
const markSecrets = (state: Record<string, unknown>, names: string[]) =>
    Object.fromEntries(
        Object.entries(state).map(([key, value]) => [key, names.includes(key) ? pulumi.secret(value) : value]),
    );

/**
 * Runs a program against Pulumi's mocks, waits until everything is registered, and tells what was declared, in the order of
 * the program. A resource nobody knows is an error, and so is a call of a function that `calls` has no answer to.
 */
export async function declare<T>(
    program: () => T,
    // A program that fails after its constructors never comes to its end here: `resources` is filled as it goes.
    { project = "shop", stack = "dev", calls = {} as Calls, resources = [] as Declared[] } = {},
): Promise<{ resources: Declared[]; result: pulumi.Unwrap<T> }> {
    await pulumi.runtime.setMocks(
        {
            call: ({ token, inputs }) => {
                const answer = calls[token];
                if (!answer) throw new Error(`unknown function ${token}`);
                return answer(inputs);
            },
            newResource: (args) => {
                const answer = OUTPUTS[shortType(args.type)];
                if (!answer) throw new Error(`unknown resource ${args.type}`);
                const inputs = clear(args.inputs, "", new Set()) as Record<string, unknown>;
                const { id = `id of ${args.name}`, ...outputs } = answer({ ...args, inputs });
                const state = { ...inputs, ...outputs };
                const { secretOutputs } = find(resources, args.name, shortType(args.type));
                return { id: `${id}`, state: markSecrets(state, secretOutputs) };
            },
        },
        project,
        stack,
        false,
    );
    const runtime = require("@pulumi/pulumi/runtime/settings") as { getMonitor(): MockMonitor };
    const monitor = runtime.getMonitor();
    // The mocks are not shown parents, dependencies and options; the request has them.
    const register = monitor.registerResource.bind(monitor);
    monitor.registerResource = async (request, callback) => {
        const secrets = new Set<string>();
        const { __provider = "", ...inputs } = clear(
            request.getObject().toJavaScript(),
            "",
            secrets,
        ) as Declared["inputs"];
        secrets.delete("__provider");
        resources.push({
            type: shortType(request.getType()),
            name: request.getName(),
            parent: lastOf(request.getParent()),
            inputs,
            secrets: [...secrets].sort(),
            dependsOn: request.getDependenciesList().map(lastOf).sort(),
            retainOnDelete: request.getRetainondelete() ?? false,
            secretOutputs: request.getAdditionalsecretoutputsList(),
            provider: __provider,
            madeBy: lastOf(request.getProvider().split("::").slice(0, -1).join("::")),
            replaceOnChanges: request.getReplaceonchangesList(),
            deleteBeforeReplace: request.getDeletebeforereplace() ?? false,
        });
        return register(request, callback);
    };
    const result = program();
    const resolved = new Promise<pulumi.Unwrap<T>>((done) => pulumi.output(result).apply(done));
    await pulumi.runtime.disconnect();
    // Nothing above waits for anything but itself: without this, a test of many programs starves its runner.
    await new Promise(setImmediate);
    return { resources, result: await resolved };
}

/** `type name` of everything, sorted: registration order follows the values, not the program. */
export const inventory = (resources: Declared[]) => resources.map(({ type, name }) => `${type} ${name}`).sort();

export function find(resources: Declared[], name: string, type?: string): Declared {
    const found = resources.find((resource) => resource.name === name && (type ?? resource.type) === resource.type);
    if (!found) throw new Error(`${name} was not declared; there are ${inventory(resources).join(", ")}`);
    return found;
}
