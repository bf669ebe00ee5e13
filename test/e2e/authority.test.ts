import { createPrivateKey, X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Run, TestStack } from "../support/stack";
import { secretsIn } from "../support/traces";

const AUTHORITY = resolve(__dirname, "../../dist/resources/certificate-authority");

/** What an `up` leaves is written to a file, as a key is shown nowhere else; a preview knows some of it only. */
const PROGRAM = `
const { CertificateAuthority } = require(${JSON.stringify(AUTHORITY)});
const { certificate, privateKey, trustBundle } = new CertificateAuthority("ca", { commonName: "builders", ...settings });
pulumi.all({ certificate, privateKey, trustBundle }).apply((all) =>
    require("node:fs").writeFileSync("issued.json", JSON.stringify(all)));
`;

interface Issued {
    certificate: string;
    privateKey: string;
    trustBundle: string;
}

describe("a certificate authority in a stack", () => {
    const stack = new TestStack(PROGRAM);
    afterAll(() => stack.dispose());

    const up = async (settings: object): Promise<[Run, Issued]> => {
        const run = await stack.up(settings);
        return [run, JSON.parse(readFileSync(stack.path("issued.json"), "utf8"))];
    };
    const stateText = () =>
        readdirSync(stack.path("state"), { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
            .join("");

    it("is exchanged by two updates, and neither key is in the state in the clear", async () => {
        const settings = { validDays: 100, renewBeforeDays: 10 };
        const [, made] = await up(settings);
        expect((await up(settings))[0].did).toEqual([]);

        const [publishing, published] = await up({ ...settings, renewBeforeDays: 101 });
        expect(publishing.did).toEqual(["update ca"]);
        expect([published.certificate, published.privateKey]).toEqual([made.certificate, made.privateKey]);
        const between = stateText();
        expect((await stack.run("preview", { ...settings, renewBeforeDays: 101 })).did).toEqual([]);

        const [switching, switched] = await up({ ...settings, overlapDays: 0 });
        expect(switching.did).toEqual(["update ca"]);
        expect(switched.certificate).not.toBe(made.certificate);
        expect(new X509Certificate(switched.certificate).checkPrivateKey(createPrivateKey(switched.privateKey))).toBe(
            true,
        );
        expect(switched.trustBundle).toBe(published.trustBundle);
        expect(switched.trustBundle).toContain(made.certificate.trim());
        expect(switched.trustBundle).toContain(switched.certificate.trim());
        // It had both already; the search finds what is there in the clear.
        const middleOf = (pem: string) => pem.trim().split("\n")[1] ?? "";
        expect(secretsIn(between, { next: middleOf(switched.certificate) })).toEqual(["next"]);
        const keys = { current: middleOf(made.privateKey), next: middleOf(switched.privateKey) };
        expect(secretsIn(between, keys)).toEqual([]);
        expect(secretsIn(stateText(), keys)).toEqual([]);
        expect((await up(settings))[0].did).toEqual([]);
    });

    it("says what is wrong with an overlap before anything is made", async () => {
        const { errors } = await stack.run("up", { overlapDays: "a day" });
        expect(errors.map(({ message }) => message).join()).toContain(
            'found "a day"; expected a number of days, 0 or more',
        );
    });
});
