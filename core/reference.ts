import { type Digest, isDigest, parseDigest } from "./digest";
import { FormatError } from "./problems";
import { quote } from "./text";

/** Where a repository is: the registry's `host[:port]`, and the name in it. */
export interface Repository {
    /** `ghcr.io`, `127.0.0.1:5000`, `[::1]:5000`, `localhost`. */
    registry: string;
    /** `team/app`. */
    repository: string;
}

/** A repository, and in it a tag, a digest, both (the digest counts), or neither. */
export interface Reference extends Repository {
    tag?: string;
    digest?: Digest;
}

/** Names and tags: OCI distribution specification 1.1, "Pulling manifests". The host: distribution/reference, regexp.go. */
const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const hostPart = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const registryPattern = new RegExp(`^(?:${hostPart}(?:\\.${hostPart})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);

/** Many clients limit registry and name together, with the slash, to 255 characters; so does Docker. */
const longestName = 255;

const expectedReference = 'an image reference such as "registry.example.com/team/app:1.4.2"';
const expectedRepository = 'a repository such as "registry.example.com/team/app"';

/** Whether a text can be a tag. */
export function isTag(text: string): boolean {
    return tagPattern.test(text);
}

/** Whether a text can be a repository's name, without its registry. */
export function isRepositoryName(text: string): boolean {
    return text.length <= longestName && namePattern.test(text);
}

/** Whether a text can be a registry: a host name, an IPv4 address or an IPv6 one in brackets, and perhaps a port. */
export function isRegistry(text: string): boolean {
    const port = /:([0-9]+)$/.exec(text)?.[1];
    return registryPattern.test(text) && (port === undefined || Number(port) <= 65_535);
}

/**
 * Reads `[registry/]repository[:tag][@digest]`. As everywhere, a first part with a dot, a colon or capitals, or `localhost`, is
 * the registry; without one it is Docker Hub, where a name without a slash is in `library/`.
 *
 * @throws FormatError saying which part is wrong.
 */
export function parseReference(text: string): Reference {
    return parse(text, expectedReference);
}

/**
 * Reads a repository: a reference that names neither tag nor digest.
 *
 * @throws FormatError
 */
export function parseRepository(text: string): Repository {
    const { registry, repository, tag, digest } = parse(text, expectedRepository);
    if (tag !== undefined || digest !== undefined) {
        const name = digest === undefined ? "tag" : "digest";
        const hint = `name the repository alone: "${formatReference({ registry, repository })}"`;
        throw new FormatError(`${quote(text)} carries a ${name}`, expectedRepository, hint);
    }
    return { registry, repository };
}

/** The reference as text, registry included; {@link parseReference} reads it back to the same parts. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
    return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

function parse(text: string, expected: string): Reference {
    const wrong = (what: string, hint?: string) => new FormatError(`${quote(text)} ${what}`, expected, hint);
    const scheme = /^([a-z][a-z+.-]*:\/\/)(.*)$/i.exec(text);
    if (scheme !== null) {
        throw wrong("is an address, not an image reference", `leave out ${quote(scheme[1] ?? "")}`);
    }
    const at = text.indexOf("@");
    const digest = at < 0 ? undefined : text.slice(at + 1);
    const named = at < 0 ? text : text.slice(0, at);
    // A colon after the last slash starts the tag; one before it belongs to the registry's port.
    const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
    const name = colon < 0 ? named : named.slice(0, colon);
    const tag = colon < 0 ? undefined : named.slice(colon + 1);
    const { registry, repository } = splitRegistry(name);
    if (!isRegistry(registry)) {
        throw wrong(`has no valid registry: ${quote(registry)}`);
    }
    if (!namePattern.test(repository) || /^[a-f0-9]{64}$/.test(name)) {
        const lower = repository.toLowerCase();
        const hint = namePattern.test(lower) ? `repository names are in lower case: ${quote(lower)}` : undefined;
        throw wrong(`has no valid repository name: ${quote(repository)}`, hint);
    }
    if (registry.length + 1 + repository.length > longestName) {
        throw wrong(`is too long: registry and name have more than ${longestName} characters`);
    }
    if (tag !== undefined && !isTag(tag)) {
        throw wrong(`has no valid tag: ${quote(tag)}`, "a tag has 1 to 128 letters, digits, and _ . - after the first");
    }
    if (digest !== undefined && !isDigest(digest)) {
        throw wrong(`has no valid digest: ${quote(digest)}`);
    }
    const reference: Reference = { registry, repository };
    if (tag !== undefined) {
        reference.tag = tag;
    }
    if (digest !== undefined) {
        reference.digest = parseDigest(digest);
    }
    return reference;
}

function splitRegistry(name: string): Repository {
    const slash = name.indexOf("/");
    const first = slash < 0 ? "" : name.slice(0, slash);
    if (/[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase()) {
        return { registry: first, repository: name.slice(slash + 1) };
    }
    return { registry: "docker.io", repository: slash < 0 ? `library/${name}` : name };
}
