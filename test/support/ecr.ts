/** What a test needs of ECR: its token service (moto, with the times and tokens it is told), and a registry that takes the token. */
import { type AwsProxy, json } from "./moto";

/** The token that moto gives, for whoever asks. */
export const ECR_TOKEN = "123456789012-auth-token";
/** Content of an htpasswd file that lets `AWS` in with {@link ECR_TOKEN} (bcrypt). */
export const ECR_HTPASSWD = "AWS:$2b$05$abcdefghijklmnopqrstuu/4ofrUS75HrKu6f.iuRo0I/XlrmpqlC\n";
/** The token after it, and its htpasswd. */
export const NEXT_TOKEN = "renewed-0d1f6a9c-auth-token";
export const NEXT_HTPASSWD = "AWS:$2b$05$abcdefghijklmnopqrstuugwPfMucc77rRQa0UHssT1PrxpAV2yg2\n";

const HOUR_MS = 3_600_000;

export interface TokenService {
    /** How often a token was asked for. */
    readonly asked: number;
    /** What the next answers say: moto's token was good until 2015. */
    answer(next: { token?: string; hours?: number }): void;
}

/** Lets moto's tokens live as long as ECR's, or as long as told. */
export function serveTokens(proxy: AwsProxy): TokenService {
    let asked = 0;
    let how = { token: ECR_TOKEN, hours: 12 };
    proxy.on("GetAuthorizationToken", async ({ forward }) => {
        asked += 1;
        const { authorizationData } = JSON.parse((await forward()).body);
        const given = {
            ...authorizationData[0],
            authorizationToken: Buffer.from(`AWS:${how.token}`).toString("base64"),
            expiresAt: (Date.now() + how.hours * HOUR_MS) / 1000,
        };
        return json({ authorizationData: [given] });
    });
    return {
        get asked() {
            return asked;
        },
        answer: (next) => {
            how = { token: ECR_TOKEN, hours: 12, ...next };
        },
    };
}
