/** What a registry, or its token service, may be shown. */
export type Credential =
    | { username: string; password: string }
    /** An OAuth2 refresh token, as `docker login` keeps it for some registries. */
    | { identityToken: string }
    /** A bearer token to be sent as it is. */
    | { registryToken: string };

/** Where credentials come from. */
export interface CredentialSource {
    /** For errors: names the source, never what is in it. */
    readonly description: string;
    /** It makes credentials itself: it is asked again within the request that was refused, not only by the next one. */
    readonly renews?: boolean;
    /**
     * The credential for a registry (`host` or `host:port`); undefined when this source has none for it.
     * Called again when the registry refuses what it got: a source must not keep what may have been renewed.
     *
     * @param refused what the registry would not take.
     */
    get(registry: string, refused?: Credential): Promise<Credential | undefined>;
}

/** No credentials at all. */
export const anonymous: CredentialSource = {
    description: "anonymous access",
    get: async () => undefined,
};

/** One fixed credential, shown to whatever registry the client is made for. */
export function staticCredentials(credential: Credential): CredentialSource {
    return { description: "the given credentials", get: async () => credential };
}
