import type { EcrAccess } from "../../core/registry-connection";
import type { CredentialSource } from "../registry/credentials";
import { awsEnvironment, withAws } from "./clients";

/** A registry's password, as `GetAuthorizationToken` gives it. */
export interface EcrLogin {
    username: string;
    /** A secret. */
    password: string;
    /** By this machine's clock, milliseconds since the epoch. */
    madeAt: number;
    expiresAt: number;
}

/** Whether so much of a token's time is over that another one is due. One that came expired always is. */
export function isHalfUsed({ madeAt, expiresAt }: Pick<EcrLogin, "madeAt" | "expiresAt">, now: number): boolean {
    return now - madeAt >= (expiresAt - madeAt) / 2;
}

const known = new Map<string, Promise<EcrLogin>>();

const keyOf = ({ region, registryId = "" }: EcrAccess) => JSON.stringify([region, registryId, awsEnvironment()]);

/**
 * The login of a registry, kept in this process's memory and nowhere else, and renewed when half of its time is over: what
 * is handed to a tool is good for at least six hours.
 *
 * @param refused a password that the registry would not take; it is not given out again.
 * @throws AwsError where the credentials at hand may not get a token.
 */
export async function ecrLogin(access: EcrAccess, refused?: string): Promise<EcrLogin> {
    const key = keyOf(access);
    const pending = known.get(key);
    const before = await pending?.catch(() => undefined);
    if (before && before.password !== refused && !isHalfUsed(before, Date.now())) return before;
    // Others may have asked again while this one waited.
    const newer = known.get(key);
    if (newer && newer !== pending) return newer;
    const asked = requestLogin(access);
    known.set(key, asked);
    return asked;
}

async function requestLogin({ region }: EcrAccess): Promise<EcrLogin> {
    const { GetAuthorizationTokenCommand } = await import("@aws-sdk/client-ecr");
    const madeAt = Date.now();
    // `registryIds` is deprecated: one token opens every registry that the credentials may use.
    const { authorizationData } = await withAws("ecr", region, (send) => send(new GetAuthorizationTokenCommand({})));
    const [data] = authorizationData ?? [];
    const [username = "", password = ""] = Buffer.from(data?.authorizationToken ?? "", "base64")
        .toString()
        .split(/:(.*)/s);
    if (!username || !password || !data?.expiresAt)
        throw new Error(`ecr:GetAuthorizationToken in ${region} was answered without a token\nnext: run again`);
    return { username, password, madeAt, expiresAt: data.expiresAt.getTime() };
}

/** ECR's tokens as the registry client asks for them: a token that was refused is replaced at once. */
export function ecrCredentials(access: EcrAccess): CredentialSource {
    return {
        description: `the authorization token of ECR in ${access.region}`,
        renews: true,
        async get(_registry, refused) {
            const shown = refused && "password" in refused ? refused.password : undefined;
            const { username, password } = await ecrLogin(access, shown);
            return { username, password };
        },
    };
}
