/** Registries that ECR pulls through (API reference, CreatePullThroughCacheRule), and whether it asks them with credentials only. */
const UPSTREAMS: [host: RegExp, credentials: boolean][] = [
    [/^public\.ecr\.aws$/, false],
    [/^quay\.io$/, false],
    [/^registry\.k8s\.io$/, false],
    [/^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/, false],
    [/^registry-1\.docker\.io$/, true],
    [/^ghcr\.io$/, true],
    [/^registry\.gitlab\.com$/, true],
    [/^[a-z0-9]+\.azurecr\.io$/, true],
    [/^cgr\.dev$/, true],
];

/** For messages. */
export const UPSTREAM_NAMES =
    "public.ecr.aws, quay.io, registry.k8s.io, registry-1.docker.io, ghcr.io, registry.gitlab.com, cgr.dev, *.azurecr.io";

/** Whether a registry is pulled through with credentials only; `undefined` for one that can't be. */
export const needsCredentials = (host: string) => UPSTREAMS.find(([pattern]) => pattern.test(host))?.[1];
