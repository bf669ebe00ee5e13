import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import { vi } from "vitest";
import { operations as certificate } from "../../resources/certificate/operations";
import { operations as authority } from "../../resources/certificate-authority/operations";

export const CA = { commonName: "builders", validDays: 3650, renewBeforeDays: 180 };
export type AuthoritySettings = typeof CA & { overlapDays?: number };

export const newAuthority = async (more: Partial<AuthoritySettings> = {}) =>
    (await authority.create({ ...CA, ...more })).outs;
export type Authority = Awaited<ReturnType<typeof newAuthority>>;

export const inputsFor = ({ certificate: pem, privateKey }: Authority, usage: "server" | "client") => ({
    authority: { certificate: pem, privateKey },
    commonName: usage === "server" ? "arm64" : "client",
    usage,
    dnsNames: usage === "server" ? ["arm64"] : [],
    ipAddresses: [],
    validDays: 365,
    renewBeforeDays: 30,
});
export const issue = async (by: Authority, usage: "server" | "client") =>
    (await certificate.create(inputsFor(by, usage))).outs;
export type Certificate = Awaited<ReturnType<typeof issue>>;

export const certificatesIn = (bundle: string) => bundle.match(/BEGIN CERTIFICATE/g)?.length;

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

/** What an `up` leaves behind. */
export interface Issued {
    day: number;
    authority: Authority;
    server: Certificate;
    client: Certificate;
}

const TODAY = Date.now();
const DAY_MS = 86_400_000;

/**
 * An `up` so many days after today: each resource as the engine treats it, which asks `diff` first. Handshakes are of today, whatever
 * the clock here says, so whoever is to take part in one was certified before.
 */
export async function upOn(day: number, before?: Issued, settings: AuthoritySettings = CA): Promise<Issued> {
    vi.useFakeTimers({ toFake: ["Date"], now: TODAY + day * DAY_MS });
    try {
        const by = before
            ? await upToDate(authority, before.authority, settings)
            : (await authority.create(settings)).outs;
        const leaf = (usage: "server" | "client") =>
            before ? upToDate(certificate, before[usage], inputsFor(by, usage)) : issue(by, usage);
        return { day, authority: by, server: await leaf("server"), client: await leaf("client") };
    } finally {
        vi.useRealTimers();
    }
}

interface Renewable<I, O> {
    diff(id: string, state: O, inputs: I): Promise<{ changes: boolean }>;
    update(id: string, state: O, inputs: I): Promise<{ outs: O }>;
}

async function upToDate<I, O>(operations: Renewable<I, O>, state: O, inputs: I): Promise<O> {
    if (!(await operations.diff("", state, inputs)).changes) return state;
    const { outs } = await operations.update("", state, inputs);
    if ((await operations.diff("", outs, inputs)).changes) throw new Error("an update left something to do");
    return outs;
}

/** Whether a node that last took over what one `up` left lets the client of another in, and is let in. */
export const isLetIn = (node: Issued, client: Issued) =>
    shakeHands(
        { own: node.server, trusts: node.authority.trustBundle },
        { own: client.client, trusts: client.authority.trustBundle },
    );
