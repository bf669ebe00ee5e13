import * as dockerBuild from "@pulumi/docker-build";
import * as pulumi from "@pulumi/pulumi";
import { parseDuration } from "../../core/duration";
import type { NodeRegistrySettings } from "../../core/node-registries";
import { Platform } from "../../core/platform";
import { parseReference } from "../../core/reference";
import { BuildxBuilder } from "../../resources/buildx-builder";
import type { GitTags } from "../../resources/git-tags";
import { ImageIndex } from "../../resources/image-index";
import { RegistryCheck } from "../../resources/registry-check";
import { RegistryLogin, type RegistryLoginArgs } from "../../resources/registry-login";
import type { Fleet } from "../builders/fleet";
import { applyTransform } from "../transform";
import type { ImageTransform } from "./args";
import { builderName } from "./builder-name";
import { cacheFromOf, cacheToOf } from "./caches";
import type { ResolvedSettings } from "./resolve";

/** What every stage's helper needs. */
export interface Scope {
    name: string;
    settings: ResolvedSettings;
    transform: ImageTransform;
    options: pulumi.CustomResourceOptions;
    /** Set where tags come from Git. */
    git?: GitTags | undefined;
}

/** One platform: its builder, and its image, pushed by digest. */
export interface BuiltPlatform {
    /** `linux/arm64` */
    platform: string;
    /** `linux-arm64` */
    slug: string;
    builder: BuildxBuilder;
    image: dockerBuild.Image;
    digest: pulumi.Output<string>;
}

/** Every platform's builder, and then the images: where a platform has no node, none is built. */
export function buildPlatforms(scope: Scope): BuiltPlatform[] {
    const builders = scope.settings.platforms.map((platform) => createBuilder(scope, platform));
    const provider = createProvider(scope);
    const check = createCheck(scope);
    const before = check ? [...builders, check] : builders;
    return scope.settings.platforms.map((platform, i) => {
        const builder = builders[i] as BuildxBuilder;
        const { slug } = Platform.parse(platform);
        const image = createImage(scope, platform, slug, builder, before, provider);
        return { platform, slug, builder, image, digest: image.digest };
    });
}

function createBuilder({ name, settings, transform, options }: Scope, platform: string): BuildxBuilder {
    const { slug } = Platform.parse(platform);
    const builderArgs = {
        name: builderName(pulumi.getProject(), pulumi.getStack(), name, slug),
        platform,
        nodes: settings.fleet.nodes,
        emulation: settings.emulation,
        placementKey: `${name} ${platform}`,
        ...(settings.fleet.client ? { client: settings.fleet.client } : {}),
    };
    return new BuildxBuilder(`${name}-builder-${slug}`, applyTransform(transform.builder, builderArgs, slug), options);
}

/**
 * A docker-build of the image's own, where the registry's password is a token that must not get into the state. The plugin
 * reads Docker's configuration once, when it is configured (provider/internal/host.go, newHost), so it must not be before the
 * login; the default provider could be, for another image's sake. Without a login there is none, as there never was: another
 * provider would build every image again.
 */
function createProvider({ name, settings, transform, options }: Scope): dockerBuild.Provider | undefined {
    const { ecr } = settings;
    if (!ecr) return undefined;
    const registry = settings.repository.apply((repository) => parseReference(repository).registry);
    const args: RegistryLoginArgs = { registry, ecr: pulumi.output(ecr) };
    const login = new RegistryLogin(`${name}-login`, applyTransform(transform.login, args), options);
    // Its inputs never change: DOCKER_HOST, its default, differs between machines, and does nothing here but replace it.
    return new dockerBuild.Provider(
        `${name}-docker-build`,
        { host: "" },
        pulumi.mergeOptions(options, { dependsOn: login, ignoreChanges: ["host"] }),
    );
}

/** Where the repository asks for it; it and the images fail and go on together. */
function createCheck({ name, settings, transform, options }: Scope): RegistryCheck | undefined {
    const { checkRegistry, repository, connection, fleet } = settings;
    if (!checkRegistry) return undefined;
    const told = fleet.registries ? { nodes: pulumi.output(fleet.registries) } : { each: toldDockerNodes(fleet) };
    const args = { repository, connection, ...told };
    return new RegistryCheck(`${name}-registry`, applyTransform(transform.registry, args), options);
}

/** The nodes whose BuildKit is ours to configure, by buildx; what others were told is not known here. */
function toldDockerNodes({ nodes }: Fleet): pulumi.Output<Record<string, Record<string, NodeRegistrySettings>>> {
    return pulumi
        .output(nodes)
        .apply((all) =>
            Object.fromEntries(all.flatMap(({ name, docker }) => (docker ? [[name, docker.registries ?? {}]] : []))),
        );
}

function createImage(
    { name, settings, transform, options }: Scope,
    platform: string,
    slug: string,
    builder: BuildxBuilder,
    before: pulumi.Resource[],
    provider: dockerBuild.Provider | undefined,
): dockerBuild.Image {
    const timeout = `${parseDuration(settings.buildTimeout) / 1000}s`;
    return new dockerBuild.Image(
        `${name}-image-${slug}`,
        applyTransform(transform.image, imageArgs(settings, platform, slug, builder), slug),
        // Deleting an image takes its digest out of the registry, under every tag that shares it: releases stay.
        pulumi.mergeOptions(options, {
            retainOnDelete: true,
            dependsOn: before,
            customTimeouts: { create: timeout, update: timeout },
            ...(provider ? { provider } : {}),
        }),
    );
}

function imageArgs(
    settings: ResolvedSettings,
    platform: string,
    slug: string,
    builder: BuildxBuilder,
): dockerBuild.ImageArgs {
    const { dockerfile, contexts } = settings;
    const named = Object.entries(contexts).map(([name, location]) => [name, { location }] as const);
    return {
        builder: { name: builder.name },
        platforms: [platform as dockerBuild.Platform],
        context: {
            location: settings.context,
            ...(named.length > 0 ? { named: Object.fromEntries(named) } : {}),
        },
        ...(dockerfile === undefined ? {} : { dockerfile: dockerfileOf(dockerfile) }),
        ...(settings.target === undefined ? {} : { target: settings.target }),
        ...filled("buildArgs", settings.buildArgs),
        ...filled("secrets", settings.secrets),
        ...filled("labels", settings.labels),
        ...(settings.ssh.length > 0 ? { ssh: settings.ssh } : {}),
        ...(settings.addHosts.length > 0 ? { addHosts: settings.addHosts } : {}),
        ...(settings.network === "default" ? {} : { network: settings.network }),
        ...(settings.noCache ? { noCache: true } : {}),
        ...(settings.pull ? { pull: true } : {}),
        ...(settings.cacheFrom.length > 0 ? { cacheFrom: settings.cacheFrom.map((c) => cacheFromOf(c, slug)) } : {}),
        ...(settings.cacheTo.length > 0 ? { cacheTo: settings.cacheTo.map((c) => cacheToOf(c, slug)) } : {}),
        exports: [
            // One value, unknown as a whole while the repository is: the plugin refuses a push whose name alone is unknown
            // (provider/internal/export.go, validate), and leaves out an export that is (image.go, normalize).
            pulumi.output({
                image: {
                    names: [settings.repository],
                    push: true,
                    pushByDigest: true,
                    nameCanonical: true,
                    ociMediaTypes: true,
                    ...filled("annotations", settings.annotations),
                },
            }),
        ],
        ...(settings.mayHaveCredentials ? { registries: registriesOf(settings) } : {}),
        push: false,
        // The plugin never builds a pushed image in a preview, and warns that it did not.
        buildOnPreview: false,
    };
}

const filled = <K extends string, T extends object>(key: K, table: T) =>
    (Object.keys(table).length > 0 ? { [key]: table } : {}) as { [Name in K]?: T };

const dockerfileOf = (
    dockerfile: NonNullable<ResolvedSettings["dockerfile"]>,
): dockerBuild.types.input.DockerfileArgs =>
    typeof dockerfile === "object" && "inline" in dockerfile
        ? { inline: dockerfile.inline }
        : { location: dockerfile as pulumi.Input<string> };

/** A password that was given goes to the build's session; otherwise Docker's own configuration is used. */
function registriesOf({ connection, repository }: ResolvedSettings) {
    return pulumi.all([connection, repository]).apply(([{ username, password, mirrorCredentials = [] }, name]) => {
        const address = name.slice(0, name.indexOf("/"));
        const own = username === undefined || password === undefined ? [] : [{ address, username, password }];
        return [...own, ...mirrorCredentials].map((one) => ({ ...one, password: pulumi.secret(one.password) }));
    });
}

export function createIndex({ name, settings, transform, options }: Scope, built: BuiltPlatform[]): ImageIndex {
    const args = {
        repository: settings.repository,
        connection: settings.connection,
        annotations: settings.annotations,
        children: built.map(({ platform, digest, builder }) => ({
            platform,
            digest,
            builder: builder.name,
            node: builder.nodeName,
            emulated: builder.emulated,
        })),
    };
    return new ImageIndex(`${name}-index`, applyTransform(transform.index, args), options);
}
