import { Alias, type AliasArgs } from "@pulumi/aws/kms/alias";
import { Key, type KeyArgs } from "@pulumi/aws/kms/key";
import { KeyPolicy, type KeyPolicyArgs } from "@pulumi/aws/kms/keyPolicy";
import * as pulumi from "@pulumi/pulumi";
import { shortened } from "../../core/aws/names";
import { signingKeyPolicy } from "../../core/aws/signing-key-policy";
import { checkSigningKeySettings, type SigningKeySettings } from "../../core/aws/signing-key-settings";
import { withoutOutputs } from "../plain";
import { applyTransform, type Transform } from "../transform";

export interface ImageSigningKeyArgs {
    /** Without `alias/`; default `buildfleet/<project>/<stack>/<name>`. */
    alias?: string;
    /**
     * ARNs of the roles, users, accounts that may sign, and nobody else, whatever the account's own policies say. Default: whom
     * those policies let.
     */
    signers?: pulumi.Input<string>[];
    /** The same for who reads the public half, to verify; signers may, too. Default: whom the account's own policies let. */
    readers?: pulumi.Input<string>[];
    /** The same for who manages the key, besides the account itself; they can't sign with it. */
    administrators?: pulumi.Input<string>[];
    /** How long a deleted key can be brought back, 7 to 30; default 30. */
    deletionWindowDays?: number;
    tags?: Record<string, pulumi.Input<string>>;
    transform?: ImageSigningKeyTransform;
}

/** Last word on the children's arguments. */
export interface ImageSigningKeyTransform {
    key?: Transform<KeyArgs>;
    policy?: Transform<KeyPolicyArgs>;
    alias?: Transform<AliasArgs>;
}

/**
 * A key in AWS KMS that images are signed with (ECDSA P-256): its private half never leaves KMS, and whoever signs needs nothing but
 * the right to. What it signed can be verified offline, with the public half that an image's `signature.publicKey` is.
 *
 * ```ts
 * const key = new ImageSigningKey("images", { signers: [ci.arn] });
 * const image = new MultiPlatformImage("app", { …, sign: { key: key.key } });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class ImageSigningKey extends pulumi.ComponentResource {
    /**
     * `awskms:///arn:aws:kms:eu-central-1:123456789012:alias/…`, for `sign.key`: account and region are part of it, so it means the same
     * key wherever it is used. Known when the key can be used.
     */
    readonly key: pulumi.Output<string>;
    /** Of the key. */
    readonly arn: pulumi.Output<string>;
    /** `alias/…` */
    readonly alias: pulumi.Output<string>;

    constructor(name: string, args: ImageSigningKeyArgs = {}, options?: pulumi.ComponentResourceOptions) {
        const settings = resolve(name, args);
        super("buildfleet:aws:ImageSigningKey", name, {}, options);
        const { transform = {}, signers = [], readers = [], administrators = [] } = args;
        const child = { parent: this };
        const keyArgs = {
            description: `Signs container images (${name})`,
            customerMasterKeySpec: "ECC_NIST_P256",
            keyUsage: "SIGN_VERIFY",
            deletionWindowInDays: settings.deletionWindowDays,
            tags: args.tags ?? {},
        };
        const key = new Key(`${name}-key`, applyTransform(transform.key, keyArgs), child);
        // Apart from the key, whose ARN it needs: it names the account without having to ask for it.
        const policy = pulumi
            .all([key.arn, pulumi.all(signers), pulumi.all(readers), pulumi.all(administrators)])
            .apply(([arn, sign, read, manage]) =>
                JSON.stringify(signingKeyPolicy(arn, { signers: sign, readers: read, administrators: manage })),
            );
        const policyArgs = { keyId: key.keyId, policy };
        const inForce = new KeyPolicy(`${name}-policy`, applyTransform(transform.policy, policyArgs), child);
        const aliasArgs = { name: `alias/${settings.alias ?? aliasOf(name)}`, targetKeyId: key.keyId };
        const alias = new Alias(`${name}-alias`, applyTransform(transform.alias, aliasArgs), child);
        this.arn = key.arn;
        this.alias = alias.name;
        this.key = pulumi.all([alias.arn, inForce.id]).apply(([arn]) => `awskms:///${arn}`);
        this.registerOutputs({ key: this.key, arn: this.arn, alias: this.alias });
    }
}

function resolve(name: string, { transform, ...args }: ImageSigningKeyArgs): SigningKeySettings {
    const subject = `ImageSigningKey ${JSON.stringify(name)}`;
    return checkSigningKeySettings(subject, withoutOutputs(args)) as SigningKeySettings;
}

/** Unique in account and region: projects and stacks have keys of the same name. */
function aliasOf(name: string): string {
    const path = ["buildfleet", pulumi.getProject(), pulumi.getStack(), name].join("/");
    return shortened(path.replace(/[^a-zA-Z0-9/_-]+/g, "-"), 250);
}
