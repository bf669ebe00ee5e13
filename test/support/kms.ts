import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AwsProxy, json, type Moto, REGION } from "./moto";

/** One call of KMS's API, as the AWS CLI would make it. */
export async function callKms(moto: Moto, action: string, input: object) {
    const scope = `AKIATESTING/20261122/${REGION}/kms/aws4_request`;
    const headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `TrentService.${action}`,
        authorization: `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0`,
    };
    const answer = await fetch(moto.url, { method: "POST", headers, body: JSON.stringify(input) });
    if (!answer.ok) throw new Error(`${action}: ${await answer.text()}`);
    return JSON.parse((await answer.text()) || "{}");
}

/** ECDSA over a digest as it is: Node only signs what it has hashed itself. */
function signDigest(privateKey: string, digest: Buffer): Buffer {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-kms-"));
    try {
        const [key, message] = [join(folder, "key.pem"), join(folder, "digest")];
        writeFileSync(key, privateKey, { mode: 0o600 });
        writeFileSync(message, digest);
        return execFileSync("openssl", ["pkeyutl", "-sign", "-inkey", key, "-in", message]);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * The proxy's KMS signs digests, which moto does not know (it hashes them once more): keys, aliases and their refusals stay moto's, and
 * each key gets a private half here.
 */
export function serveSigning(proxy: AwsProxy, moto: Moto) {
    const keys = new Map<string, string>();
    const privateKeyOf = async (KeyId: string) => {
        const { Arn } = (await callKms(moto, "DescribeKey", { KeyId })).KeyMetadata;
        const pem =
            keys.get(Arn) ??
            generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" });
        keys.set(Arn, String(pem));
        return String(pem);
    };
    const signWith = async (
        KeyId: string,
        input: { Message: string; MessageType: string; SigningAlgorithm: string },
    ) => {
        if (input.MessageType !== "DIGEST") throw new Error(`${input.MessageType} is not signed here`);
        const signature = signDigest(await privateKeyOf(KeyId), Buffer.from(input.Message, "base64"));
        return json({ KeyId, Signature: signature.toString("base64"), SigningAlgorithm: input.SigningAlgorithm });
    };
    proxy.on("GetPublicKey", async ({ input, forward }) => {
        const answer = await forward();
        if (answer.status !== 200) return answer;
        const publicKey = createPublicKey(createPrivateKey(await privateKeyOf(input.KeyId)));
        const PublicKey = publicKey.export({ type: "spki", format: "der" }).toString("base64");
        return json({ ...JSON.parse(answer.body), PublicKey });
    });
    proxy.on("Sign", ({ input }) => signWith(input.KeyId, input));
    return { signWith };
}
