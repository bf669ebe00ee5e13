import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { motoFolder, motoInstalled } from "../../tools/setup/moto.mjs";
import { startFaultServer } from "./fault-server";

export interface Moto {
    /** `http://127.0.0.1:port` */
    url: string;
    /** What makes an AWS SDK or CLI talk to it. */
    env: Record<string, string>;
    /** Forgets everything that was made in it. */
    reset(): Promise<void>;
    close(): Promise<void>;
}

/** The region of {@link Moto.env}. */
export const REGION = "eu-central-1";

const environment = (url: string) => ({
    AWS_ENDPOINT_URL: url,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: "AKIATESTING000000000",
    AWS_SECRET_ACCESS_KEY: "secret-of-the-tests",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
});

/** Starts moto, the emulator of AWS's APIs, on a port of its own, and waits until it answers. */
export async function startMoto(): Promise<Moto> {
    if (!motoInstalled()) throw new Error("moto is missing; run: node tools/setup.mjs --tests");
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_")));
    const child = spawn(join(motoFolder(), "bin", "python"), ["-m", "moto.server", "-p", "0"], {
        stdio: ["ignore", "ignore", "pipe"],
        // The port in MOTO_PORT is only shown to what moto starts; without it, it writes its -p there.
        env: { ...own, PYTHONUNBUFFERED: "1" },
    });
    const killWithUs = () => void child.kill("SIGKILL");
    process.once("exit", killWithUs);
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const log: string[] = [];
    const url = await new Promise<string>((resolve, reject) => {
        child.once("error", reject);
        void ended.then(() => reject(new Error(`moto ended before it listened:\n${log.join("\n")}`)));
        createInterface({ input: child.stderr }).on("line", (line) => {
            const found = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
            if (found) resolve(found);
            // Every request is a line there: only the last are of interest.
            if (log.push(line) > 50) log.shift();
        });
    });
    return {
        url,
        env: environment(url),
        async reset() {
            const answer = await fetch(`${url}/moto-api/reset`, { method: "POST" });
            if (!answer.ok) throw new Error(`moto did not reset: ${answer.status}`);
        },
        async close() {
            child.kill("SIGKILL");
            await ended;
            process.removeListener("exit", killWithUs);
        },
    };
}

/** Sets variables of this process, and removes every other AWS_ one; the function that is returned undoes it. */
export function useEnvironment(env: Record<string, string>): () => void {
    const before = { ...process.env };
    for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
    Object.assign(process.env, env);
    return () => {
        for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
        Object.assign(process.env, before);
    };
}

/** An answer of an AWS API. */
export interface Reply {
    status: number;
    body: string;
    type: string;
}

/** One call of an AWS API on its way to moto. */
export interface Call {
    /** `StartInstances` */
    action: string;
    /** The how manieth of its action since the last reset, from 1. */
    count: number;
    /** Form fields of EC2's protocol, or the parsed JSON of the others'. */
    // biome-ignore lint/suspicious/noExplicitAny: whatever the action takes
    input: any;
    /** The request's body as it was sent. */
    body: string;
    /** What moto answers. */
    forward(): Promise<Reply>;
}

/** Answers a call; "hang" leaves it without an answer. */
export type Behaviour = (call: Call) => Promise<Reply | "hang"> | Reply | "hang";

/** A proxy in front of moto that misbehaves as told, or does what moto does not. */
export interface AwsProxy {
    url: string;
    env: Record<string, string>;
    /** Names of the actions that were called, in order. */
    actions(): string[];
    on(action: string, behaviour: Behaviour): void;
    /** Forgets behaviours and counts. */
    reset(): void;
    stop(): Promise<void>;
}

/** An error in EC2's protocol (query, XML). */
export const ec2Error = (code: string, message = `it is ${code}`, status = 400): Reply => ({
    status,
    type: "text/xml",
    body: `<?xml version="1.0"?><Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>r-1</RequestID></Response>`,
});

/** An answer in the JSON protocol of SSM, ECR and others. */
export const json = (body: object, status = 200): Reply => ({
    status,
    type: "application/x-amz-json-1.1",
    body: JSON.stringify(body),
});

/** An error in the JSON protocol. */
export const jsonError = (code: string, message = `it is ${code}`, status = 400) =>
    json({ __type: code, message }, status);

/** The reply for the first `times` calls, then what moto says. */
export const first =
    (times: number, reply: Reply | "hang"): Behaviour =>
    (call) =>
        call.count <= times ? reply : call.forward();

/** What moto says, its text changed. */
export const rewriting =
    (change: (body: string, call: Call) => string): Behaviour =>
    async (call) => {
        const reply = await call.forward();
        return { ...reply, body: change(reply.body, call) };
    };

/** For `RunInstances`, as EC2 does and moto does not: the same client token names the same instance. `refuse` may answer first. */
export function launchingByToken(refuse: (call: Call) => Reply | undefined): Behaviour {
    const byToken = new Map<string, Reply>();
    return async (call) => {
        const refused = refuse(call);
        if (refused) return refused;
        const token: string = call.input.ClientToken;
        const reply = byToken.get(token) ?? (await call.forward());
        if (reply.status === 200) byToken.set(token, reply);
        return reply;
    };
}

function readAction(target: string | undefined, body: string): { action: string; input: unknown } {
    if (target) return { action: target.slice(target.lastIndexOf(".") + 1), input: JSON.parse(body || "{}") };
    const fields = Object.fromEntries(new URLSearchParams(body));
    return { action: fields.Action ?? "", input: fields };
}

export async function startAwsProxy(moto: Moto): Promise<AwsProxy> {
    const behaviours = new Map<string, Behaviour>();
    const called: string[] = [];
    const server = await startFaultServer({
        upstream: new URL(moto.url).host,
        async fault(request, response) {
            const target = request.headers["x-amz-target"];
            const { action, input } = readAction(Array.isArray(target) ? target[0] : target, request.body);
            called.push(action);
            const behaviour = behaviours.get(action);
            if (!behaviour) return "pass";
            const reply = await behaviour({
                action,
                input,
                body: request.body,
                count: called.filter((name) => name === action).length,
                async forward() {
                    const headers = Object.entries(request.headers).filter(
                        ([name]) => !["host", "content-length", "connection", "expect"].includes(name),
                    ) as [string, string][];
                    const { method, url, body } = request;
                    const answer = await fetch(`${moto.url}${url}`, { method, headers, body });
                    const type = answer.headers.get("content-type") ?? "text/xml";
                    return { status: answer.status, body: await answer.text(), type };
                },
            });
            if (reply === "hang") return undefined;
            response.writeHead(reply.status, { "content-type": reply.type, "x-amzn-requestid": "r-1" });
            response.end(reply.body);
            return undefined;
        },
    });
    return {
        url: `http://${server.address}`,
        env: environment(`http://${server.address}`),
        actions: () => [...called],
        on: (action, behaviour) => void behaviours.set(action, behaviour),
        reset() {
            behaviours.clear();
            called.length = 0;
        },
        stop: () => server.stop(),
    };
}
