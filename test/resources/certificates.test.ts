import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { operations as certificate } from "../../resources/certificate/operations";
import { operations as authority } from "../../resources/certificate-authority/operations";
import { CA, certificatesIn, inputsFor, issue, newAuthority, upOn } from "../support/certified";

describe("a certificate authority", () => {
    it("asks for nothing while it is far from its end", async () => {
        const state = await newAuthority();
        expect((await authority.diff("", state, CA)).changes).toBe(false);
        expect(certificatesIn(state.trustBundle)).toBe(1);
        expect(new X509Certificate(state.certificate).ca).toBe(true);
    });
});

describe("a certificate", () => {
    it("asks for nothing while it is far from its end", async () => {
        const by = await newAuthority();
        const state = await issue(by, "server");
        expect((await certificate.diff("", state, inputsFor(by, "server"))).changes).toBe(false);
    });

    it.each([
        ["in the days before its end", { renewBeforeDays: 400 }],
        ["for another name", { commonName: "arm64-2" }],
        ["for another address", { ipAddresses: ["10.0.0.7"] }],
    ])("is issued again %s", async (_case, more) => {
        const by = await newAuthority();
        const state = await issue(by, "server");
        const inputs = { ...inputsFor(by, "server"), ...more };
        expect((await certificate.diff("", state, inputs)).changes).toBe(true);
        const { outs } = await certificate.update("", state, inputs);
        expect(outs.certificate).not.toBe(state.certificate);
        expect(outs.privateKey).not.toBe(state.privateKey);
    });

    it("is issued again when another authority signs, and not before", async () => {
        const before = await upOn(-200);
        const published = await upOn(-100, before, { ...CA, validDays: 3000 });
        expect(certificatesIn(published.authority.trustBundle)).toBe(2);
        expect(published.client).toBe(before.client);
        const { authority: by, client } = await upOn(-60, published, { ...CA, validDays: 3000 });
        expect(by.certificate).not.toBe(before.authority.certificate);
        expect(new X509Certificate(client.certificate).verify(new X509Certificate(by.certificate).publicKey)).toBe(
            true,
        );
    });

    it("that lasts as long as its authority waits for the next one, as no other would last longer", async () => {
        const settings = { ...CA, validDays: 100, renewBeforeDays: 12 };
        const made = await upOn(-90, undefined, settings);
        // Ten days are left, and five of the overlap; its own renewal began thirty before its end.
        const waiting = await upOn(-1, await upOn(-2, made, settings), settings);
        expect(certificatesIn(waiting.authority.trustBundle)).toBe(2);
        expect(waiting.server).toBe(made.server);
    });

    it("is not issued by halves that do not belong together", async () => {
        const [one, other] = await Promise.all([newAuthority(), newAuthority()]);
        const mixed = { ...one, privateKey: other.privateKey };
        await expect(issue(mixed, "client")).rejects.toThrow("the private key does not belong to the certificate");
    });
});
