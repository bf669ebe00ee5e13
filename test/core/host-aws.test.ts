import type { RequestListener } from "node:http";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { METRICS } from "../../core/host";
import { type Authority, createAuthority, issueCertificate } from "../../drivers/x509";
import { AwsFront } from "../support/aws-guest";
import { type Moto, REGION, startMoto } from "../support/moto";
import { MetadataService } from "../support/vm/metadata";
import { HostRoom } from "./host-room";
import { hostSettings } from "./host-settings";

// The real scripts, curl and Python of this machine; the metadata service at its own address; AWS behind a door that checks
// each signature as the SDK makes it.

const NODE_TLS = "/etc/buildfleet/tls";
const settings = hostSettings({ awsEndpoint: "http://127.0.0.1/" });

let moto: Moto;
let room: HostRoom;
let metadata: MetadataService;
let front: AwsFront;
let authority: Authority;
/** In front of AWS and the metadata service, for one test. */
let intercept: ((host: string, next: RequestListener) => RequestListener) | undefined;

beforeAll(async () => {
    moto = await startMoto();
    metadata = new MetadataService({
        instanceId: "i-0123456789abcdef0",
        region: REGION,
        availabilityZone: `${REGION}a`,
        instanceType: "c8g.large",
        architecture: "arm64",
        macAddress: "0a:00:00:00:00:01",
        privateIp: "10.0.0.9",
        role: "builder",
        userData: Buffer.from(""),
    });
    const allows = (action: string) => !action.startsWith("Denied");
    front = new AwsFront({ upstream: moto.url, region: REGION, credentials: () => metadata.credentials, allows });
    room = await new HostRoom().open(({ host = "" }) => {
        const next = host === "169.254.169.254" ? metadata.handle : front.handle;
        return intercept?.(host, next) ?? next;
    });
    authority = await createAuthority({ name: "builders", days: 100 });
});

afterAll(async () => {
    await room?.close();
    await moto?.close();
});

beforeEach(async () => {
    intercept = undefined;
    await moto.reset();
    front.requests.length = 0;
    metadata.requests.length = 0;
    await room.run("rm", "-rf", NODE_TLS, "/run/buildfleet", "/run/systemctl");
    await room.run("iptables", "--flush", "INPUT");
    await room.run("ip6tables", "--flush", "INPUT");
    room.install(settings);
});

/** Puts a version of the parameter; the value is returned. */
async function put(value: string): Promise<string> {
    const credentials = { accessKeyId: "someone", secretAccessKey: "else" };
    const client = new SSMClient({ endpoint: moto.url, region: REGION, credentials });
    const { parameter } = settings.tls;
    await client.send(
        new PutParameterCommand({ Name: parameter, Value: value, Type: "SecureString", Overwrite: true }),
    );
    return value;
}

const issue = (days = 30, now = new Date()) =>
    issueCertificate({ authority, commonName: "arm64", usage: "server", days, now, dnsNames: ["arm64"] });

async function pem(days?: number, now?: Date): Promise<string> {
    const server = await issue(days, now);
    return server.privateKey + server.certificate + authority.certificate;
}

/** Key, certificate and CA as BuildKit finds them, put together again. */
async function current(): Promise<string> {
    const { stdout } = await room.run("bash", "--norc", "-c", `cd ${NODE_TLS}/current && cat key.pem cert.pem ca.pem`);
    return stdout;
}

/** Every file below the folder with its mode, size and time. */
const listing = async (folder: string) => (await room.run("find", folder, "-printf", "%p %l %m %s %T@\n")).stdout;

describe("tls.sh ensure", () => {
    it("fetches the parameter with the instance's own role, signed as AWS wants it, into files only root reads", async () => {
        const value = await put(await pem());
        const run = await room.script("tls.sh", "ensure");
        expect(run).toMatchObject({ code: 0, stdout: "" });
        expect(await current()).toBe(value);
        expect(front.requests).toEqual([
            {
                action: "AmazonSSM.GetParameter",
                body: { Name: settings.tls.parameter, WithDecryption: true },
                status: 200,
            },
        ]);
        const files = (await room.run("find", `${NODE_TLS}/`, "-type", "f", "-printf", "%m %u\n")).stdout;
        expect(files).toBe("600 root\n".repeat(3));
        expect(metadata.requests[0]).toEqual({ method: "PUT", path: "/latest/api/token", status: 200 });
        expect(metadata.requests.filter(({ status }) => status === 401)).toEqual([]);
    });

    it("changes nothing the second time, and asks nobody: a wake does not wait for the network", async () => {
        await put(await pem());
        await room.script("tls.sh", "ensure");
        const before = await listing(NODE_TLS);
        front.requests.length = 0;
        metadata.requests.length = 0;
        expect((await room.script("tls.sh", "ensure")).code).toBe(0);
        expect(await listing(NODE_TLS)).toBe(before);
        expect([...front.requests, ...metadata.requests]).toEqual([]);
    });

    it("gets a new version when what it has is about to expire", async () => {
        await put(await pem(1, new Date(Date.now() - 86_400_000 + 300_000)));
        await room.script("tls.sh", "ensure");
        const value = await put(await pem());
        expect((await room.script("tls.sh", "ensure")).code).toBe(0);
        expect(await current()).toBe(value);
    });

    it("goes on trying until the parameter is there", async () => {
        let refused = 0;
        intercept = (host, next) => (request, response) => {
            if (host !== "169.254.169.254" && refused++ < 2) {
                response.writeHead(500).end('{"__type":"InternalServerError"}');
            } else {
                next(request, response);
            }
        };
        const value = await put(await pem());
        const run = await room.script("tls.sh", "ensure");
        expect(run.code).toBe(0);
        expect(run.stderr).toMatch(/GetParameter at http:\/\/127.0.0.1: HTTP 500: .*InternalServerError/);
        expect(await current()).toBe(value);
    });

    it("shows no secret to other processes, nor to the journal", async () => {
        const value = await put(await pem());
        let processes = "";
        intercept = (host, next) => async (request, response) => {
            if (host !== "169.254.169.254") {
                // What runs while AWS is being asked, with its arguments and its environment.
                const read = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ";
                processes = (await room.run("bash", "--norc", "-c", read)).stdout;
            }
            next(request, response);
        };
        // The time for looking: the request is answered only after it.
        const run = await room.script("tls.sh", "ensure");
        expect(run.code).toBe(0);
        const { secretAccessKey, sessionToken } = metadata.credentials;
        const [key = "", certificate = ""] = value.split(/(?=-----BEGIN CERT)/).map((block) => block.split("\n")[1]);
        expect(processes).toContain("--aws-sigv4");
        for (const secret of [secretAccessKey, sessionToken, key]) {
            expect(processes).not.toContain(secret);
            expect(run.stderr).not.toContain(secret);
        }
        expect(await current()).toContain(certificate);
    });
});

describe("tls.sh poll", () => {
    /** Stands for systemd, which a room has not; notes what it was asked. */
    const SYSTEMCTL = '#!/bin/sh\necho "$@" >>/run/systemctl\n';
    const asked = async () => (await room.run("cat", "/run/systemctl")).stdout;

    beforeEach(async () => {
        room.write("/usr/bin/systemctl", SYSTEMCTL, 0o755);
        await put(await pem());
        await room.script("tls.sh", "ensure");
        await room.script("drain.sh", "start");
    });

    it("leaves everything alone while the version is the same", async () => {
        const before = await listing(`${NODE_TLS}/1`);
        expect((await room.script("tls.sh", "poll")).code).toBe(0);
        expect(await asked()).toBe("");
        expect(await listing(`${NODE_TLS}/1`)).toBe(before);
    });

    it("takes over a new version as a whole, restarts BuildKit once, and keeps only that", async () => {
        const value = await put(await pem());
        expect((await room.script("tls.sh", "poll")).code).toBe(0);
        expect(await current()).toBe(value);
        expect(await asked()).toContain("restart buildkitd.service\n");
        expect((await room.run("ls", NODE_TLS)).stdout).toBe("2\ncurrent\n");
        // The restart, which systemd would do:
        await room.script("drain.sh", "start");
        await room.run("rm", "/run/systemctl");
        await room.script("tls.sh", "poll");
        expect(await asked()).toBe("");
    });

    it("restarts BuildKit when an earlier poll was killed between the switch and the restart", async () => {
        await put(await pem());
        await room.run("bash", "--norc", "-c", "cp -a /run/buildfleet/tls-running /run/was; true");
        await room.script("tls.sh", "poll");
        await room.run("bash", "--norc", "-c", "cp -a /run/was /run/buildfleet/tls-running; rm /run/systemctl");
        await room.script("tls.sh", "poll");
        expect(await asked()).toContain("restart buildkitd.service\n");
    });

    it.each([
        [
            "a key of another certificate",
            async () => (await issue()).privateKey + (await issue()).certificate + authority.certificate,
            /its key is another/,
        ],
        ["a certificate that has expired", () => pem(1, new Date(Date.now() - 3 * 86_400_000)), /has expired/],
        [
            "no CA",
            async () => (await pem()).replace(/-----BEGIN CERT[\s\S]*?-----END CERT[\s\S]*?\n/, ""),
            /expected a private key, a certificate and the CA.*found: PRIVATE KEY, CERTIFICATE/,
        ],
        ["something else", async () => "not a certificate", /found: no PEM/],
    ])("keeps what it has when the new version is %s", async (_what, make, message) => {
        const before = await current();
        await put(await make());
        const run = await room.script("tls.sh", "poll");
        expect(run.code).toBe(1);
        expect(run.stderr).toMatch(message);
        expect(run.stderr).toMatch(/FAILED: \/buildfleet.* could not be read; BuildKit goes on with what it has/);
        expect(await current()).toBe(before);
        expect(await asked()).toBe("");
        expect((await room.run("ls", "-A", NODE_TLS)).stdout).toBe("1\ncurrent\n");
    });

    it("says that the instance has no role", async () => {
        intercept = (_host, next) => (request, response) =>
            request.url?.includes("security-credentials")
                ? void response.writeHead(404).end("Not Found")
                : next(request, response);
        const run = await room.script("tls.sh", "poll");
        expect(run.stderr).toMatch(/the instance has no role\n/);
        expect(run.code).toBe(1);
    });

    it("says what AWS says when the role may not read it", async () => {
        intercept = (host, next) =>
            host === "169.254.169.254"
                ? next
                : (_request, response) => void response.writeHead(400).end('{"__type":"AccessDeniedException"}');
        const run = await room.script("tls.sh", "poll");
        expect(run.stderr).toMatch(/HTTP 400: {"__type":"AccessDeniedException"}/);
        expect(run.code).toBe(1);
    });
});

describe("metrics.sh", () => {
    const { logGroup = "" } = settings.metrics ?? {};

    /** Calls CloudWatch Logs as somebody with all rights. */
    async function logs(action: string, body: object): Promise<{ events?: { message: string }[] }> {
        const authorization = `AWS4-HMAC-SHA256 Credential=a/20260101/${REGION}/logs/aws4_request, SignedHeaders=host, Signature=a`;
        const headers = {
            "x-amz-target": `Logs_20140328.${action}`,
            "content-type": "application/x-amz-json-1.1",
            authorization,
        };
        const answer = await fetch(moto.url, { method: "POST", headers, body: JSON.stringify(body) });
        expect(answer.status, await answer.clone().text()).toBe(200);
        const text = await answer.text();
        return text === "" ? {} : JSON.parse(text);
    }

    it("sends one line in the embedded metric format, into a stream that it makes the first time", async () => {
        await put(await pem(20, new Date(Date.now() - 43_200_000)));
        await room.script("tls.sh", "ensure");
        await logs("CreateLogGroup", { logGroupName: logGroup });
        await room.run("mkdir", "-p", "/var/lib/buildkit");
        front.requests.length = 0;
        const first = await room.script("metrics.sh");
        expect(first).toMatchObject({ code: 0 });
        expect((await room.script("metrics.sh")).code).toBe(0);
        expect(front.requests.map(({ action, status }) => `${action.split(".")[1]} ${status}`)).toEqual([
            ...["PutLogEvents 400", "CreateLogStream 200", "PutLogEvents 200"],
            "PutLogEvents 200",
        ]);
        const { events = [] } = await logs("GetLogEvents", { logGroupName: logGroup, logStreamName: settings.node });
        expect(events).toHaveLength(2);
        const line = JSON.parse(events[0]?.message ?? "");
        const { _aws: embedded, ...members } = line;
        expect(embedded.CloudWatchMetrics).toEqual([
            {
                Namespace: "buildfleet",
                Dimensions: [["Fleet", "Node"]],
                // BuildKit does not run here: its two figures are missing, not zero.
                Metrics: [
                    { Name: METRICS.diskUsedPercent, Unit: "Percent" },
                    { Name: METRICS.certificateDaysLeft, Unit: "Count" },
                    { Name: METRICS.buildkitAnswers, Unit: "Count" },
                ],
            },
        ]);
        expect(Math.abs(embedded.Timestamp - Date.now())).toBeLessThan(60_000);
        expect(members).toEqual({
            Fleet: "builders",
            Node: "arm64",
            DiskUsedPercent: expect.any(Number),
            CertificateDaysLeft: 19,
            BuildkitAnswers: 0,
        });
    });

    it("fails, naming the group, when there is none", async () => {
        await put(await pem());
        await room.script("tls.sh", "ensure");
        await room.run("mkdir", "-p", "/var/lib/buildkit");
        const run = await room.script("metrics.sh");
        expect(run.code).toBe(1);
        expect(run.stderr).toMatch(
            /ResourceNotFoundException[\s\S]*FAILED: the metrics could not be sent to the log group \/buildfleet\/builders/,
        );
    });
});

describe("watch.sh", () => {
    beforeEach(async () => {
        room.write("/usr/bin/systemctl", '#!/bin/sh\necho "$@" >>/run/systemctl\n', 0o755);
        delete metadata.tags["buildfleet:drain"];
    });

    it("powers off, and lets nobody in any more, once the instance is tagged", async () => {
        metadata.tags.Name = "builder";
        intercept = (_host, next) => (request, response) => {
            next(request, response);
            // The first look finds no tag, the second one does; and the session is over in between.
            if (request.url?.endsWith("buildfleet:drain")) metadata.tags["buildfleet:drain"] = "true";
        };
        const run = await room.script("watch.sh");
        expect(run.code).toBe(0);
        expect(run.stderr).toContain("powering off: tagged buildfleet:drain");
        expect((await room.run("cat", "/run/systemctl")).stdout).toBe("--no-block poweroff\n");
        expect((await room.run("iptables", "-S", "INPUT")).stdout).toContain("--dport 8372");
        expect(
            metadata.requests.filter(({ path }) => path.endsWith("buildfleet:drain")).map(({ status }) => status),
        ).toEqual([404, 200]);
    });

    it("powers off when EC2 takes the spot instance back", async () => {
        metadata.interrupt();
        const run = await room.script("watch.sh");
        expect(run.stderr).toContain("EC2 interrupts this spot instance");
        expect((await room.run("cat", "/run/systemctl")).stdout).toBe("--no-block poweroff\n");
    });
});
