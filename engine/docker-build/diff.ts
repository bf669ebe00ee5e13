/** Which inputs differ, by the plugin's names for them. */
import { isDeepStrictEqual } from "node:util";
import { entryText } from "./flags";
import type { Image } from "./shape";

const WHOLE = (
    "addHosts buildArgs buildOnPreview builder cacheFrom cacheTo dockerfile labels load " +
    "network noCache platforms pull push ssh tags target"
).split(" ") as (keyof Image)[];

/** Passwords of registries don't count, nor do secrets that `ignoreSecretsInDiffCalculation` names where both have them. */
export function changedInputs(olds: Image, news: Image): string[] {
    const changed: string[] = WHOLE.filter((name) => !isDeepStrictEqual(olds[name], news[name]));
    const differs = (name: string, part: (image: Image) => unknown) => {
        if (!isDeepStrictEqual(part(olds), part(news))) changed.push(name);
    };
    differs("context.location", ({ context }) => context?.location);
    differs("context.named", ({ context }) => context?.named);
    differs("exports", ({ exports }) => exports.map(entryText));
    const ignored = news.ignoreSecretsInDiffCalculation.filter((name) => name in olds.secrets && name in news.secrets);
    differs("secrets", ({ secrets }) => ({ ...secrets, ...Object.fromEntries(ignored.map((name) => [name, ""])) }));
    const identities = ({ registries }: Image) => registries.map(({ address, username }) => `${username}@${address}`);
    const moved = identities(olds).findIndex((identity, index) => identity !== identities(news)[index]);
    if (olds.registries.length !== news.registries.length) changed.push("registries");
    else if (moved >= 0) changed.push(`registries[${moved}]`);
    return changed;
}
