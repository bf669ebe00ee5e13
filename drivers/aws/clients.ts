import type { EC2Client } from "@aws-sdk/client-ec2";
import type { ECRClient } from "@aws-sdk/client-ecr";
import type { SSMClient } from "@aws-sdk/client-ssm";
import { AwsError, isRegionName, toAwsError } from "./errors";

interface Clients {
    ec2: EC2Client;
    ecr: ECRClient;
    ssm: SSMClient;
}

/** What all of the SDK's clients are made with. */
interface Settings {
    region: string;
    retryMode: "standard";
    maxAttempts?: number;
    requestHandler: {
        connectionTimeout: number;
        requestTimeout: number;
        socketTimeout: number;
        throwOnRequestTimeout: boolean;
    };
}

// The SDK warns of Node versions that its later releases will not support; the one that we pin does, and which one is
// pinned is nothing that whoever reads the output could change.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";

// Loaded when first needed: EC2's alone takes most of a second.
const MAKE: { [Name in keyof Clients]: (settings: Settings) => Promise<Clients[Name]> } = {
    ec2: async (settings) => new (await import("@aws-sdk/client-ec2")).EC2Client(settings),
    ecr: async (settings) => new (await import("@aws-sdk/client-ecr")).ECRClient(settings),
    ssm: async (settings) => new (await import("@aws-sdk/client-ssm")).SSMClient(settings),
};

/** Attempts of one call, the pauses between them growing (the SDK's standard retry mode: at most about 15 s in all). */
const ATTEMPTS = 6;
const REQUEST_MS = 20_000;
/** One call with all its retries. */
const CALL_MS = 90_000;
/** A client that nobody used for so long is closed; credentials found through a login service need not be asked for again. */
const IDLE_MS = 10_000;

interface Kept {
    client: Promise<Clients[keyof Clients]>;
    users: number;
    timer?: NodeJS.Timeout;
}
const kept = new Map<string, Kept>();

/** What the SDK reads from the environment; other values may be another identity's, and make another client. */
export const awsEnvironment = () =>
    Object.entries(process.env)
        .filter(([name]) => name.startsWith("AWS_"))
        .map(([name, value]) => `${name}=${value}`)
        .sort()
        .join("\n");

function borrow<Name extends keyof Clients>(name: Name, region: string): { key: string; entry: Kept } {
    const key = JSON.stringify([name, region, awsEnvironment()]);
    let entry = kept.get(key);
    if (!entry) {
        const client = MAKE[name]({
            region,
            retryMode: "standard",
            ...(process.env.AWS_MAX_ATTEMPTS ? {} : { maxAttempts: ATTEMPTS }),
            requestHandler: {
                connectionTimeout: 5_000,
                requestTimeout: REQUEST_MS,
                socketTimeout: REQUEST_MS,
                throwOnRequestTimeout: true,
            },
        });
        entry = { client, users: 0 };
        kept.set(key, entry);
    }
    entry.users += 1;
    clearTimeout(entry.timer);
    return { key, entry };
}

function giveBack(key: string, entry: Kept): void {
    entry.users -= 1;
    if (entry.users > 0) return;
    entry.timer = setTimeout(() => {
        if (kept.get(key) === entry) kept.delete(key);
        void entry.client.then((client) => client.destroy());
    }, IDLE_MS);
    entry.timer.unref();
}

/** Sends commands to one service in one region, each within its time. */
export type Send<Name extends keyof Clients> = Clients[Name]["send"];

/**
 * Lends a client: the SDK's default chain of credentials, `AWS_ENDPOINT_URL…` and the other variables of the SDK hold.
 * Clients are shared by who uses them at the same time, and closed a little after the last use.
 *
 * @param use gets the client's `send`, whose failures are {@link AwsError}s.
 * @throws AwsError with `BAD_REGION` before anything is sent, where the region's name can't be one.
 */
export async function withAws<Name extends keyof Clients, T>(
    name: Name,
    region: string,
    use: (send: Send<Name>, client: Clients[Name]) => Promise<T>,
): Promise<T> {
    if (!isRegionName(region))
        throw new AwsError(
            "BAD_REGION",
            name,
            region || "(no region)",
            `"${region}" is not the name of an AWS region`,
            "write a region such as eu-central-1",
        );
    const { key, entry } = borrow(name, region);
    try {
        const client = (await entry.client) as Clients[Name];
        const send = async (command: { constructor: { name: string } }) => {
            const action = `${name}:${command.constructor.name.replace(/Command$/, "")}`;
            try {
                const plain = client as { send(command: object, options: object): Promise<unknown> };
                return await plain.send(command, { abortSignal: AbortSignal.timeout(CALL_MS) });
            } catch (error) {
                throw toAwsError(error, action, region);
            }
        };
        return await use(send as Send<Name>, client);
    } finally {
        giveBack(key, entry);
    }
}
