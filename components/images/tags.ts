import * as pulumi from "@pulumi/pulumi";
import { immutableOf } from "../../core/git-tags";
import { isAddress } from "../../core/leaves";
import { GitTags } from "../../resources/git-tags";
import { isPlain } from "../plain";
import { applyTransform } from "../transform";
import type { Scope } from "./build";
import type { ResolvedSettings } from "./resolve";

/** The scope with what Git says, where it is asked; everything else waits for it, so that nothing is built that is refused. */
export function withGitTags(scope: Scope): Scope {
    const { name, settings, transform, options } = scope;
    if (!settings.gitTags) return scope;
    const { folder, version = settings.version === undefined, ...rules } = settings.gitTags;
    const args = {
        folder,
        paths: pulumi.output(builtFrom(settings)).apply((places) => places.filter((place) => !isAddress(place))),
        rules: { ...rules, version },
        taken: settings.tags,
    };
    const git = new GitTags(`${name}-git`, applyTransform(transform.git, args), options);
    return { ...scope, git, options: pulumi.mergeOptions(options, { dependsOn: git }) };
}

/** Everything whose changes make another image. */
function builtFrom({ context, contexts, dockerfile }: ResolvedSettings): pulumi.Input<string>[] {
    const inline = isPlain(dockerfile) && typeof dockerfile === "object" && "inline" in dockerfile;
    const file = dockerfile === undefined || inline ? [] : [dockerfile as pulumi.Input<string>];
    return [context, ...Object.values(contexts), ...file];
}

interface Tags {
    tags: pulumi.Input<string[]>;
    version: pulumi.Input<string>;
    immutableTags: pulumi.Input<string[]>;
}

/** What a `TagPromotion` is to set; values from Git are outputs, all others stay plain. */
export function tagsOf(settings: ResolvedSettings, git: GitTags | undefined): Tags {
    const { immutable, immutableTags } = settings;
    const given = { tags: settings.tags, version: settings.version ?? "" };
    const rule = (tags: string[], version: string) =>
        immutableOf(version === "" ? tags : [...tags, version], immutable, immutableTags);
    if (!git) return { ...given, immutableTags: rule(given.tags, given.version) };
    const tags = git.tags.apply((more) => [...new Set([...given.tags, ...more])]);
    const version = given.version === "" ? git.version : pulumi.output(given.version);
    const fixed = pulumi.all([tags, version]).apply(([all, one]) => rule(all, one));
    return { tags, version, immutableTags: fixed };
}
