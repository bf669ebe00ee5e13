import { z } from "zod";
import { dayExpected, hasPassed, parseDay } from "./day";
import { duration, platform, platformIdentity } from "./leaves";
import { FormatError } from "./problems";
import { choice, type Fault, kindOf, late, leaf, off, secretText, text } from "./schema";
import { exactlyOne, fields, list } from "./schema-tables";
import { quote } from "./text";
import { severities } from "./verdict";

/** The test each platform must pass on its own node. */
export const test = late(
    z.union([
        off(),
        fields({
            command: list(text("an argument"), { of: "arguments, the program first", min: 1 }),
            platforms: list(platform, { of: "platforms", min: 1, identity: platformIdentity })
                .optional()
                .describe("Where it runs; all platforms when unset"),
            timeout: duration.default("5 minutes").describe("After which the test has failed"),
        }),
    ]),
);

/** The bill of materials attested to each platform's image. */
export const sbom = late(z.union([off(), fields({ format: choice(["spdx-json"]).default("spdx-json") })]));

/**
 * A scan policy.
 *
 * @param now decides which ignore entries are over: those are problems, so that no decision outlives its day unnoticed.
 */
export function scan(now: Date) {
    const until = text(dayExpected, (value) => {
        parseDay(value);
        if (hasPassed(value, now)) {
            throw new FormatError(`${value} has passed`, dayExpected, "renew the decision or remove the entry");
        }
        return value;
    });
    const entry = fields({
        id: text('a finding such as "CVE-2026-0001"', (value) => {
            if (!/^[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+(?::[A-Za-z0-9-]+)*$/.test(value)) {
                throw new FormatError(`${quote(value)} is not a finding`, 'a finding such as "CVE-2026-0001"');
            }
            return value;
        }).describe("The finding's id"),
        package: text("a package's name").optional().describe("Only in this package; in all when unset"),
        reason: text("why it does no harm").describe("Why the finding does no harm"),
        until: until.describe("The last day, in UTC, on which the decision holds"),
    });
    const policy = fields({
        scanner: choice(["grype", "trivy", "ecr"]).default("grype").describe("What scans; `ecr`: ECR itself"),
        failOn: choice([...severities, "none"])
            .default("high")
            .describe("Findings of this severity and worse refuse the image"),
        ignore: late(
            list(entry, {
                of: "decisions {id, reason, until}",
                identity: ({ id, package: name }) =>
                    typeof id === "string" ? `${id.toLowerCase()} ${String(name ?? "")}` : undefined,
            }),
        )
            .default([])
            .describe("Findings to live with for a while"),
        unfixed: choice(["fail", "ignore"]).default("fail").describe("What a finding without a fix does"),
        noPackages: choice(["fail", "allow"]).default("fail").describe("What an image without any package does"),
        advisories: text("a folder")
            .optional()
            .describe("A folder of advisories to scan against, instead of the public database"),
        advisoriesUse: choice(["always", "offline"])
            .default("always")
            .describe("`offline`: the advisories are used only where the public database can't be reached"),
        database: fields({
            maxAge: duration.default("5 days").describe("An older database refuses"),
        })
            .optional()
            .describe("The public vulnerability database"),
    });
    return late(z.union([off(), policy]));
}

const keyExpected =
    'a KMS key ("awskms://", "gcpkms://", "hashivault://" or "azurekms://" and its name) or {privateKey, password, publicKey}';

/** What is wrong with the key of `sign` where it is text, or is to become text. */
export function kmsKeyFault(value: unknown): Fault | undefined {
    if (typeof value !== "string") {
        return { found: kindOf(value), expected: keyExpected, wrongKind: true };
    }
    if (value.includes("-----BEGIN")) {
        return { found: "a key itself", expected: keyExpected, hint: "a private key goes into sign.key.privateKey" };
    }
    if (/^(?:awskms|gcpkms|hashivault|azurekms):\/\/\/?[^\s/]/.test(value)) {
        return undefined;
    }
    const scheme = /^[a-z0-9]+:\/\//i.exec(value)?.[0];
    const found =
        scheme === undefined ? "not a KMS key" : `${quote(scheme)} is not a KMS this library knows, or lacks a name`;
    return { found, expected: keyExpected };
}

const kmsKey = leaf<string>(keyExpected, kmsKeyFault);

const password = leaf<string>("the private key's password", (value) =>
    typeof value === "string"
        ? undefined
        : { found: kindOf(value), expected: "the private key's password, which may be empty", wrongKind: true },
);

/** How the image is signed, and with what the signature is verified. */
export const sign = late(
    z.union([
        off(),
        exactlyOne({
            key: late(
                z.union([
                    kmsKey,
                    fields({
                        privateKey: secretText("a private key in cosign's PEM form").describe("Secret"),
                        password: password.describe("Secret"),
                        publicKey: text("a public key in PEM form", (value) => {
                            if (!/^\s*-----BEGIN PUBLIC KEY-----/.test(value)) {
                                throw new FormatError(
                                    "not a public key",
                                    'PEM that starts with "-----BEGIN PUBLIC KEY-----"',
                                );
                            }
                            return value;
                        }),
                    }),
                ]),
            ),
            keyless: late(
                fields({
                    identity: text("who signs, as the certificate names them").describe("Verified in the certificate"),
                    issuer: address("the OIDC issuer's address").describe("Verified in the certificate"),
                    provider: choice(["github-actions", "google", "spiffe", "filesystem", "buildkite-agent", "envvar"])
                        .optional()
                        .describe("Where the identity's token comes from; found out when unset"),
                }),
            ),
        }),
    ]),
);

function address(expected: string) {
    return text(expected, (value) => {
        if (!/^https?:\/\/[^\s/@]+(?:\/\S*)?$/.test(value)) {
            throw new FormatError("not an address", `${expected}, starting with https://`);
        }
        return value;
    });
}
