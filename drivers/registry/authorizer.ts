import { basicHeader } from "./basic";
import { type Challenge, mergeScopes, parseChallenges } from "./challenge";
import type { Credential, CredentialSource } from "./credentials";
import { RegistryError } from "./errors";
import { responseError } from "./responses";
import type { Clock } from "./retry";
import { fetchToken, type Token } from "./token";
import type { Transport } from "./transport";

interface AuthorizerOptions {
    /** Scheme, host and port of the registry's API. */
    origin: string;
    /** The registry as references and credential stores name it. */
    registry: string;
    source: CredentialSource;
    transport: Transport;
    clock: Clock;
}

/** Answers a registry's challenges, remembers them and the tokens got, and forgets both when they are refused. */
export class Authorizer {
    #challenge: Challenge | undefined;
    #credential: Promise<Credential | undefined> | undefined;
    /** What the registry would not take last. */
    #refused: Credential | undefined;
    #outcome = "not asked";
    readonly #tokens = new Map<string, Promise<Token>>();
    readonly #secrets = new Set<string>();

    constructor(readonly options: AuthorizerOptions) {}

    /** Every secret seen so far, for redaction. */
    get secrets(): string[] {
        return [...this.#secrets];
    }

    /** How often a 401 may be answered within one request. */
    get answers(): number {
        return this.options.source.renews ? 2 : 1;
    }

    /** For errors: the source that was tried and what it had. */
    describe(): string {
        return `${this.options.source.description} (${this.#outcome})`;
    }

    /** The header to send ahead of any challenge: undefined until the registry asked once. */
    async header(scopes: string[], signal?: AbortSignal): Promise<string | undefined> {
        if (!this.#challenge) return undefined;
        return this.#answer(this.#challenge, scopes, signal);
    }

    /**
     * The header that answers a 401, or undefined when there is nothing better to send than what was refused.
     *
     * @throws RegistryError when the token service fails or may not be trusted with credentials.
     */
    async retryWith(
        challengeHeader: string | string[] | undefined,
        scopes: string[],
        refused: string | undefined,
        signal?: AbortSignal,
    ): Promise<string | undefined> {
        const challenges = parseChallenges(challengeHeader);
        const challenge =
            challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.realm) ??
            challenges.find(({ scheme }) => scheme === "basic");
        // Its scope is what this one request lacks, not what later ones need.
        this.#challenge = challenge && { ...challenge, parameters: { ...challenge.parameters, scope: "" } };
        if (!challenge) return undefined;
        if (refused !== undefined && !(await this.#forgetToken(refused, signal))) await this.#forgetCredential(refused);
        const header = await this.#answer(challenge, scopes, signal);
        return header === refused ? undefined : header;
    }

    async #answer(challenge: Challenge, scopes: string[], signal?: AbortSignal): Promise<string | undefined> {
        const credential = await this.#load();
        if (challenge.scheme === "basic") return credential && this.#basic(credential);
        if (credential && "registryToken" in credential) return `Bearer ${credential.registryToken}`;
        const wanted = mergeScopes([...scopes, challenge.parameters.scope ?? ""]);
        const { realm, service } = challenge.parameters;
        const key = JSON.stringify([realm, service, wanted]);
        for (let known = this.#tokens.get(key); known; known = this.#tokens.get(key)) {
            const token = await unlessAborted(known, signal);
            if (this.options.clock.now() < token.usableUntil) return `Bearer ${token.value}`;
            if (this.#tokens.get(key) === known) this.#tokens.delete(key);
        }
        const pending = this.#fetch(challenge, wanted, credential);
        this.#tokens.set(key, pending);
        // A failed fetch must not be remembered as the answer for everybody after.
        pending.catch(() => this.#tokens.get(key) === pending && this.#tokens.delete(key));
        return `Bearer ${(await unlessAborted(pending, signal)).value}`;
    }

    /** Drops the token that was refused, unless a parallel request has replaced it already. */
    async #forgetToken(refused: string, signal?: AbortSignal): Promise<boolean> {
        let found = refused.startsWith("Bearer ") && this.#secrets.has(refused.slice("Bearer ".length));
        for (const [key, known] of this.#tokens) {
            const token = await unlessAborted(known, signal);
            if (`Bearer ${token.value}` !== refused) continue;
            this.#tokens.delete(key);
            found = true;
        }
        return found;
    }

    async #fetch(challenge: Challenge, scopes: string[], credential: Credential | undefined): Promise<Token> {
        const { transport, clock, origin } = this.options;
        const ask = (shown: Credential | undefined) =>
            fetchToken({ transport, clock, origin, challenge, scopes, credential: shown });
        let { token, reply } = await ask(credential);
        if (reply.status === 401 && credential) {
            // Helpers hand out passwords that expire; one that was renewed meanwhile deserves one more try.
            await this.#forgetCredential();
            const renewed = await this.#load();
            if (renewed && JSON.stringify(renewed) !== JSON.stringify(credential)) {
                ({ token, reply } = await ask(renewed));
            }
        }
        if (!token) {
            throw responseError(reply, {
                method: reply.method,
                secrets: this.secrets,
                credentials: this.describe(),
                role: "token service",
                registry: this.options.registry,
                now: clock.now(),
            });
        }
        this.#secrets.add(token.value);
        return token;
    }

    async #forgetCredential(shown?: string): Promise<void> {
        const current = await this.#credential;
        // A parallel request may have renewed it already: what was refused is what it was before.
        const isOther =
            shown?.startsWith("Basic ") && current && "password" in current && basicHeader(current) !== shown;
        if (isOther) return;
        this.#refused = current;
        this.#credential = undefined;
    }

    #load(): Promise<Credential | undefined> {
        this.#credential ??= this.options.source.get(this.options.registry, this.#refused).then((credential) => {
            this.#outcome = credential ? "entry found" : `nothing for ${this.options.registry}`;
            for (const secret of credential ? secretsOf(credential) : []) this.#secrets.add(secret);
            return credential;
        });
        const pending = this.#credential;
        pending.catch(() => {
            if (this.#credential === pending) this.#credential = undefined;
        });
        return pending;
    }

    #basic(credential: Credential): string | undefined {
        if (!("password" in credential)) {
            throw new RegistryError({
                code: "CREDENTIALS",
                reason: `${this.options.registry} asks for a user name and password; ${this.describe()} has only a token`,
                next: "give a user name and password for this registry",
            });
        }
        return basicHeader(credential);
    }
}

function secretsOf(credential: Credential): string[] {
    if ("password" in credential) return [credential.password, basicHeader(credential).slice("Basic ".length)];
    return ["identityToken" in credential ? credential.identityToken : credential.registryToken];
}

/** Waits for work that others share: the caller may leave, the work goes on. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (!signal) return work;
    signal.throwIfAborted();
    let onAbort: (() => void) | undefined;
    const left = new Promise<never>((_, reject) => {
        onAbort = () => reject(signal.reason);
        signal.addEventListener("abort", onAbort, { once: true });
    });
    try {
        return await Promise.race([work, left]);
    } finally {
        if (onAbort) signal.removeEventListener("abort", onAbort);
    }
}
