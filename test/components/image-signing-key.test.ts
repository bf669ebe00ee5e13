import { Provider } from "@pulumi/aws/provider";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ImageSigningKey, type ImageSigningKeyArgs } from "../../components/aws/image-signing-key";
import { signingKeyPolicy } from "../../core/aws/signing-key-policy";
import { MultiPlatformImage } from "../../index";
import { declare, find, inventory } from "../support/declared";

const CI = "arn:aws:iam::123456789012:role/ci";
const CLUSTER = "arn:aws:iam::111122223333:root";
const ADMIN = "arn:aws:iam::123456789012:role/security";

const declareKey = (args?: ImageSigningKeyArgs, name = "images") =>
    declare(() => {
        const { key, arn, alias } = new ImageSigningKey(name, args);
        return { key, arn, alias };
    });

describe("an ImageSigningKey", () => {
    it("is a key, its policy and an alias, named so that it is the same key wherever it is used", async () => {
        const { resources, result } = await declareKey({ tags: { team: "platform" } });
        expect(inventory(resources)).toEqual([
            "aws:kms/alias:Alias images-alias",
            "aws:kms/key:Key images-key",
            "aws:kms/keyPolicy:KeyPolicy images-policy",
            "buildfleet:aws:ImageSigningKey images",
        ]);
        expect(find(resources, "images-key").inputs).toEqual({
            description: "Signs container images (images)",
            customerMasterKeySpec: "ECC_NIST_P256",
            keyUsage: "SIGN_VERIFY",
            deletionWindowInDays: 30,
            tags: { team: "platform" },
        });
        expect(result).toEqual({
            key: "awskms:///arn:aws:kms:eu-central-1:123456789012:alias/buildfleet/shop/dev/images",
            arn: "arn:aws:kms:eu-central-1:123456789012:key/images-key",
            alias: "alias/buildfleet/shop/dev/images",
        });
    });

    it("signs an image, which waits for key, alias and policy", async () => {
        const { resources } = await declare(() => {
            const key = new ImageSigningKey("images", { signers: [CI] });
            return new MultiPlatformImage("app", {
                fleet: { nodes: [{ name: "a", endpoint: "unix:///a.sock", platforms: ["linux/arm64"] }] },
                ...{ repository: "registry.example.com/app", context: ".", platforms: ["linux/arm64"] },
                sign: { key: key.key },
            }).ref;
        });
        const uri = "awskms:///arn:aws:kms:eu-central-1:123456789012:alias/buildfleet/shop/dev/images";
        const { inputs, dependsOn } = find(resources, "app-signature");
        expect(inputs.signer).toEqual({ kind: "kms", uri });
        expect(dependsOn).toEqual(expect.arrayContaining(["images-alias", "images-policy"]));
        expect(find(resources, "app-verification").inputs.verifier).toEqual({ kind: "kms", uri });
    });

    it("passes provider and parent on, and gives each child its transform", async () => {
        const { resources } = await declare(() => {
            const provider = new Provider("elsewhere", { region: "eu-west-1" });
            const transform = {
                key: (args: object) => ({ ...args, multiRegion: true }),
                policy: (args: object) => ({ ...args, policy: "mine" }) as never,
                alias: (args: object) => ({ ...args, name: "alias/mine" }) as never,
            };
            return new ImageSigningKey("images", { transform }, { provider }).arn;
        });
        const children = resources.filter(({ type }) => type.startsWith("aws:"));
        for (const child of children) expect(child).toMatchObject({ parent: "images", madeBy: "elsewhere" });
        expect(find(resources, "images-key").inputs.multiRegion).toBe(true);
        expect(find(resources, "images-policy").inputs.policy).toBe("mine");
        expect(find(resources, "images-alias").inputs.name).toBe("alias/mine");
    });

    it("has an alias that KMS takes, whatever it is called", async () => {
        await fc.assert(
            fc.asyncProperty(fc.string({ minLength: 1, maxLength: 300 }), async (name) => {
                const { inputs } = find((await declareKey({}, name)).resources, `${name}-alias`);
                expect(inputs.name).toMatch(/^alias\/(?!aws\/)[a-zA-Z0-9/_-]{1,250}$/);
            }),
            { numRuns: 30 },
        );
    }, 300_000);

    it.each<[ImageSigningKeyArgs, string]>([
        [{ alias: "alias/images" }, 'leave out "alias/"'],
        [{ alias: "aws/images" }, "alias: "],
        [{ alias: "images!" }, "alias: "],
        [{ signers: ["*"] }, 'signers[0]: "*" may be anybody'],
        [{ readers: ["123456789012"] }, "did you mean"],
        [{ deletionWindowDays: 3 }, "deletionWindowDays: 3 is out of range"],
        [{ rotate: true } as never, "rotate: not a setting"],
    ])("refuses %j", async (args, said) => {
        await expect(declareKey(args)).rejects.toThrow(said);
    });
});

describe("the key's policy", () => {
    const ARN = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234";
    const statements = (parties: object) =>
        signingKeyPolicy(ARN, { signers: [], readers: [], administrators: [], ...parties }).Statement;
    const who = (parties: object, action: string) =>
        statements(parties)
            .filter(({ Action }) => Action.includes(action))
            .flatMap(({ Principal }) => Principal.AWS);
    const root = "arn:aws-us-gov:iam::123456789012:root";

    it("lets nobody but the signers sign where there are some, and only as cosign does", () => {
        const parties = { signers: [CI], readers: [CLUSTER], administrators: [ADMIN] };
        expect(who(parties, "kms:Sign")).toEqual([CI]);
        expect(who({}, "kms:Sign")).toEqual([root]);
        for (const statement of statements(parties).filter(({ Action }) => Action.includes("kms:Sign")))
            expect(statement).toMatchObject({
                Action: ["kms:Sign"],
                Condition: { StringEquals: { "kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256" } },
            });
    });

    it("lets signers and readers have the public half", () => {
        expect(who({ signers: [CI], readers: [CLUSTER] }, "kms:GetPublicKey")).toEqual([root, CLUSTER, CI]);
        const [verify] = statements({ readers: [CLUSTER] }).filter(({ Sid }) => Sid === "Verify");
        expect(verify?.Action).toEqual(["kms:DescribeKey", "kms:GetPublicKey"]);
    });

    // The provider's sources: `findKeyInfo` and `findKeyPolicyByTwoPartKey` of internal/service/kms, and its updates.
    it("lets the account do all that the AWS provider asks of a key and its policy", () => {
        const reads = ["DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags", "ListAliases"];
        const changes = ["PutKeyPolicy", "UpdateKeyDescription", "EnableKey", "DisableKey", "TagResource"];
        const others = ["UntagResource", "ScheduleKeyDeletion", "CreateAlias", "UpdateAlias", "DeleteAlias"];
        for (const action of [...reads, ...changes, ...others])
            expect(who({ signers: [CI] }, `kms:${action}`), action).toContain(root);
    });

    it("never orphans the key: the account can always change the policy", () => {
        const party = fc.array(fc.constantFrom(CI, CLUSTER, ADMIN), { maxLength: 3 });
        fc.assert(
            fc.property(fc.record({ signers: party, readers: party, administrators: party }), (parties) => {
                expect(who(parties, "kms:PutKeyPolicy")).toContain(root);
                const all = statements(parties).flatMap(({ Action }) => Action);
                expect(all.filter((action) => /\*|CreateGrant|kms:(?:Decrypt|Encrypt)/.test(action))).toEqual([]);
            }),
        );
    });
});
