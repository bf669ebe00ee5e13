import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { operations as certificate } from "../../resources/certificate/operations";
import { operations as authority } from "../../resources/certificate-authority/operations";

const CA = { commonName: "builders", validDays: 3650, renewBeforeDays: 180 };

const newAuthority = async (more: Partial<typeof CA> = {}) => (await authority.create({ ...CA, ...more })).outs;
type Authority = Awaited<ReturnType<typeof newAuthority>>;

const inputsFor = ({ certificate: pem, privateKey }: Authority, usage: "server" | "client") => ({
    authority: { certificate: pem, privateKey },
    commonName: usage === "server" ? "arm64" : "client",
    usage,
    dnsNames: usage === "server" ? ["arm64"] : [],
    ipAddresses: [],
    validDays: 365,
    renewBeforeDays: 30,
});
const issue = async (by: Authority, usage: "server" | "client") =>
    (await certificate.create(inputsFor(by, usage))).outs;
type Certificate = Awaited<ReturnType<typeof issue>>;

const certificatesIn = (bundle: string) => bundle.match(/BEGIN CERTIFICATE/g)?.length;

/** Whether a client and a server that ask each other for a certificate let each other in. */
async function shakeHands(
    server: { own: Certificate; trusts: string },
    client: { own: Certificate; trusts: string },
): Promise<boolean> {
    const pair = ({ own, trusts }: typeof server) => ({ cert: own.certificate, key: own.privateKey, ca: trusts });
    const listener = createServer({ ...pair(server), requestCert: true, rejectUnauthorized: true }, (socket) => {
        socket.end("welcome");
    });
    listener.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const address = listener.address();
    const port = typeof address === "object" && address ? address.port : 0;
    try {
        return await new Promise((done) => {
            const socket: TLSSocket = connect({ port, host: "127.0.0.1", servername: "arm64", ...pair(client) });
            socket.once("data", (text) => done(String(text) === "welcome"));
            socket.once("error", () => done(false));
            socket.once("close", () => done(false));
        });
    } finally {
        listener.close();
    }
}

describe("a certificate authority", () => {
    it("asks for nothing while it is far from its end", async () => {
        const state = await newAuthority();
        expect((await authority.diff("", state, CA)).changes).toBe(false);
        expect(certificatesIn(state.trustBundle)).toBe(1);
        expect(new X509Certificate(state.certificate).ca).toBe(true);
    });

    it("is renewed in the days before its end, and the one before it stays trusted", async () => {
        const old = await newAuthority({ validDays: 100 });
        expect((await authority.diff("", old, { ...CA, validDays: 100 })).changes).toBe(true);
        const { outs: next } = await authority.update("", old, CA);
        expect(certificatesIn(next.trustBundle)).toBe(2);
        expect((await authority.diff("", next, CA)).changes).toBe(false);

        const [oldServer, newServer] = await Promise.all([issue(old, "server"), issue(next, "server")]);
        const [oldClient, newClient] = await Promise.all([issue(old, "client"), issue(next, "client")]);
        // Half way through a renewal: each side has changed, and the other has not.
        expect(
            await shakeHands(
                { own: newServer, trusts: next.trustBundle },
                { own: newClient, trusts: next.trustBundle },
            ),
        ).toBe(true);
        expect(
            await shakeHands({ own: oldServer, trusts: old.trustBundle }, { own: oldClient, trusts: next.trustBundle }),
        ).toBe(true);
        expect(
            await shakeHands(
                { own: oldServer, trusts: next.trustBundle },
                { own: newClient, trusts: next.trustBundle },
            ),
        ).toBe(true);
        expect(
            await shakeHands(
                { own: newServer, trusts: next.trustBundle },
                { own: oldClient, trusts: next.trustBundle },
            ),
        ).toBe(true);
        expect(
            await shakeHands({ own: newServer, trusts: old.trustBundle }, { own: newClient, trusts: next.trustBundle }),
        ).toBe(false);
    });

    it("trusts no more than the one before it", async () => {
        const first = await newAuthority();
        const { outs: second } = await authority.update("", first, CA);
        const { outs: third } = await authority.update("", second, CA);
        expect(certificatesIn(third.trustBundle)).toBe(2);
        expect(third.trustBundle).not.toContain(first.certificate.trim());
    });

    it("does not go on trusting one that has ended", async () => {
        const ended = { ...(await newAuthority()), notAfter: new Date(Date.now() - 1000).toISOString() };
        expect(certificatesIn((await authority.update("", ended, CA)).outs.trustBundle)).toBe(1);
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

    it("is issued again when its authority was renewed", async () => {
        const old = await newAuthority();
        const state = await issue(old, "client");
        const { outs: next } = await authority.update("", old, CA);
        expect((await certificate.diff("", state, inputsFor(next, "client"))).changes).toBe(true);
        const { outs } = await certificate.update("", state, inputsFor(next, "client"));
        expect(new X509Certificate(outs.certificate).verify(new X509Certificate(next.certificate).publicKey)).toBe(
            true,
        );
    });

    it("is not issued by halves that do not belong together", async () => {
        const [one, other] = await Promise.all([newAuthority(), newAuthority()]);
        const mixed = { ...one, privateKey: other.privateKey };
        await expect(issue(mixed, "client")).rejects.toThrow("the private key does not belong to the certificate");
    });
});
