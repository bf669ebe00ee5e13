/**
 * Pulumi's passphrase secrets: AES-256-GCM, the key by PBKDF2 (SHA-256, 1,000,000 rounds). A value is `v1:NONCE:CIPHERTEXT` (base64, the tag
 * at the end); the salt is `v1:SALT:` + the encrypted word "pulumi", which tells a wrong passphrase from damaged data.
 */
import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { SECRET, SIGNATURE, type Value } from "./provider";
import { isSecret } from "./values";

const derive = promisify(pbkdf2);
const TAG_BYTES = 16;

export class Crypter {
    private constructor(
        readonly salt: string,
        private readonly key: Buffer,
    ) {}

    /** Opens what was encrypted under `salt`; without one, makes a new salt. Throws when the passphrase is another. */
    static async open(passphrase: string, salt?: string): Promise<Crypter> {
        if (salt === undefined) {
            const bytes = randomBytes(8);
            const key = await derive(passphrase, bytes, 1_000_000, 32, "sha256");
            const proof = new Crypter("", key).encrypt("pulumi");
            return new Crypter(`v1:${bytes.toString("base64")}:${proof}`, key);
        }
        const [version, encoded, ...proof] = salt.split(":");
        if (version !== "v1" || !encoded) throw new Error("the encryption salt is not in the v1 passphrase format");
        const key = await derive(passphrase, Buffer.from(encoded, "base64"), 1_000_000, 32, "sha256");
        const crypter = new Crypter(salt, key);
        if (crypter.decrypt(proof.join(":")) !== "pulumi") throw new Error("incorrect passphrase");
        return crypter;
    }

    encrypt(text: string): string {
        const nonce = randomBytes(12);
        const cipher = createCipheriv("aes-256-gcm", this.key, nonce);
        const bytes = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
        return `v1:${nonce.toString("base64")}:${bytes.toString("base64")}`;
    }

    decrypt(text: string): string {
        const [version, nonce, encoded] = text.split(":");
        if (version !== "v1" || !nonce || !encoded) throw new Error("a secret is not in the v1 passphrase format");
        const bytes = Buffer.from(encoded, "base64");
        const cipher = createDecipheriv("aes-256-gcm", this.key, Buffer.from(nonce, "base64"), {
            authTagLength: TAG_BYTES,
        });
        cipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        try {
            return Buffer.concat([cipher.update(bytes.subarray(0, -TAG_BYTES)), cipher.final()]).toString("utf8");
        } catch {
            throw new Error("incorrect passphrase (set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE)");
        }
    }
}

/** The passphrase from the environment, as the Pulumi CLI reads it. */
export function readPassphrase(env: NodeJS.ProcessEnv): string {
    if (env.PULUMI_CONFIG_PASSPHRASE !== undefined) return env.PULUMI_CONFIG_PASSPHRASE;
    const file = env.PULUMI_CONFIG_PASSPHRASE_FILE;
    if (file) return readFileSync(file, "utf8").trim();
    throw new Error("secrets need a passphrase: set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE");
}

/** One derived key per salt and process: the derivation takes most of half a second. */
export class Keyring {
    private readonly open = new Map<string, Promise<Crypter>>();
    constructor(private readonly passphrase: () => string) {}

    get(salt?: string): Promise<Crypter> {
        const name = salt ?? "";
        let crypter = this.open.get(name);
        if (!crypter) {
            crypter = Promise.resolve().then(() => Crypter.open(this.passphrase(), salt));
            this.open.set(name, crypter);
        }
        return crypter;
    }
}

/** Secrets of one state, sealed for the file and opened from it. */
export class Vault {
    private crypter: Crypter | undefined;
    /** What is unchanged keeps its ciphertext. */
    private readonly sealed = new WeakMap<object, Value>();

    /** `salt`: of the state or, where that has none, of the stack's settings. */
    constructor(
        private readonly keyring: Keyring,
        public salt: string | undefined,
    ) {}

    /** Derives the key; without a salt there is a new one. */
    async unlock(): Promise<void> {
        this.crypter ??= await this.keyring.get(this.salt);
        this.salt = this.crypter.salt;
    }

    /** A secret for the file, or in the clear; undefined for what isn't one. */
    seal(node: Value, showSecrets: boolean): Value | undefined {
        if (!isSecret(node)) return undefined;
        const text = JSON.stringify(node.value);
        if (showSecrets) return { [SIGNATURE]: SECRET, plaintext: text };
        if (!this.crypter) throw new Error("a secret is to be written before the key is there");
        const sealed = this.sealed.get(node) ?? { [SIGNATURE]: SECRET, ciphertext: this.crypter.encrypt(text) };
        this.sealed.set(node, sealed);
        return sealed;
    }

    /** A secret of the file, whose ciphertext or plain text is JSON. */
    open(node: Value): Value | undefined {
        if (!isSecret(node)) return undefined;
        const { ciphertext, plaintext } = node;
        const text = typeof ciphertext === "string" ? this.crypter?.decrypt(ciphertext) : plaintext;
        if (typeof text !== "string") throw new Error("a secret of the state has no ciphertext");
        const secret = { [SIGNATURE]: SECRET, value: JSON.parse(text) as Value };
        if (typeof ciphertext === "string") this.sealed.set(secret, node);
        return secret;
    }
}
