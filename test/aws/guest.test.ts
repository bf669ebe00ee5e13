import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AwsFront } from "../support/aws-guest";
import { MetadataService } from "../support/vm/metadata";

// The tests of machines rest on these two. So they are tried with AWS's own SDK, which reads the credentials from the one and
// signs its requests to the other.

const identity = {
    instanceId: "i-0123456789abcdef0",
    region: "eu-central-1",
    availabilityZone: "eu-central-1a",
    instanceType: "c7i.2xlarge",
    architecture: "amd64" as const,
    macAddress: "02:00:00:00:00:01",
    privateIp: "10.0.2.15",
    role: "builder",
    userData: Buffer.from("#cloud-config\n"),
};
const servers: Server[] = [];
let metadata: MetadataService;
let front: AwsFront;
let imds: string;
let reached: string[];

async function serve(handler: RequestListener): Promise<string> {
    const server = createServer(handler).listen(0, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
    metadata = new MetadataService(identity);
    imds = await serve(metadata.handle);
    reached = [];
    const upstream = await serve((request, response) => {
        reached.push(String(request.headers["x-amz-target"]));
        response.end(JSON.stringify({ Parameter: { Value: "from upstream" } }));
    });
    front = new AwsFront({
        upstream,
        region: identity.region,
        credentials: () => metadata.credentials,
        allows: (action, { Name }) => action === "AmazonSSM.GetParameter" && Name === "/own",
    });
    vi.stubEnv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds);
    vi.stubEnv("AWS_ENDPOINT_URL_SSM", await serve(front.handle));
    vi.stubEnv("AWS_CONFIG_FILE", "/dev/null");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"])
        vi.stubEnv(name, undefined);
});
afterEach(async () => {
    vi.unstubAllEnvs();
    for (const server of servers.splice(0)) server.closeAllConnections();
});

const ask = (client: SSMClient, name = "/own") => client.send(new GetParameterCommand({ Name: name }));
const ssm = (settings: ConstructorParameters<typeof SSMClient>[0] = {}) =>
    new SSMClient({ region: identity.region, maxAttempts: 1, ...settings });

const token = async () => {
    const answer = await fetch(`${imds}/latest/api/token`, {
        method: "PUT",
        headers: { "X-aws-ec2-metadata-token-ttl-seconds": "60" },
    });
    return { "X-aws-ec2-metadata-token": await answer.text() };
};
const read = async (path: string, headers: Record<string, string>) => {
    const answer = await fetch(`${imds}${path}`, { headers });
    return answer.ok ? answer.text() : answer.status;
};

test("AWS's SDK gets the role's credentials from the metadata service, and its requests pass", async () => {
    const { Parameter } = await ask(ssm());
    expect(Parameter?.Value).toBe("from upstream");
    expect(metadata.requests.map(({ path }) => path)).toContain("/latest/meta-data/iam/security-credentials/builder");
});

test("a wrong secret, an unsigned request, another region and older credentials are refused, and don't get through", async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = metadata.credentials;
    const old = { accessKeyId, secretAccessKey, sessionToken };
    await expect(ask(ssm({ credentials: { ...old, secretAccessKey: "wrong" } }))).rejects.toThrow(/does not match/);
    await expect(ask(ssm({ credentials: { accessKeyId, secretAccessKey } }))).rejects.toThrow(/x-amz-security-token/);
    await expect(ask(ssm({ region: "us-east-1" }))).rejects.toThrow(/scoped to eu-central-1/);
    const unsigned = await fetch(process.env.AWS_ENDPOINT_URL_SSM ?? "", { method: "POST", body: "{}" });
    expect(await unsigned.text()).toContain("MissingAuthenticationToken");
    await ask(ssm({ credentials: old }));
    metadata.renewCredentials();
    await expect(ask(ssm({ credentials: old }))).rejects.toThrow(/is not the machine's access key now/);
    expect(reached).toEqual(["AmazonSSM.GetParameter"]);
});

test("a body that is not the signed one is refused", async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = metadata.credentials;
    const client = ssm({ credentials: { accessKeyId, secretAccessKey, sessionToken } });
    client.middlewareStack.add(
        (next) => (args) => {
            const request = args.request as { body: string };
            request.body = request.body.replace("/own", "/oWn");
            return next(args);
        },
        { step: "finalizeRequest", priority: "low" },
    );
    await expect(ask(client)).rejects.toThrow(/does not match|not the body's/);
    expect(reached).toEqual([]);
});

test("what the role may not do is refused, though signed", async () => {
    await expect(ask(ssm(), "/other")).rejects.toThrow(/AccessDenied|not allowed/);
    expect(reached).toEqual([]);
});

test("without a token, with a wrong or an expired one the metadata service says 401", async () => {
    const path = "/latest/meta-data/instance-id";
    expect(await read(path, {})).toBe(401);
    expect(await read(path, { "X-aws-ec2-metadata-token": "guessed" })).toBe(401);
    expect(await read(path, await token())).toBe(identity.instanceId);
    const bad = await fetch(`${imds}/latest/api/token`, { method: "PUT" });
    expect(bad.status).toBe(400);
});

test("folders are listed, tags and the spot notice appear when they are there", async () => {
    const headers = await token();
    expect(await read("/latest/meta-data/placement/", headers)).toBe("availability-zone\nregion");
    expect(await read("/latest/meta-data/spot/instance-action", headers)).toBe(404);
    expect(await read("/latest/meta-data/tags/instance/buildfleet:drain", headers)).toBe(404);
    metadata.tags["buildfleet:drain"] = "true";
    metadata.interrupt("stop");
    expect(await read("/latest/meta-data/tags/instance/buildfleet:drain", headers)).toBe("true");
    expect(await read("/latest/meta-data/tags/instance/buildfleet%3Adrain", headers)).toBe("true");
    const notice = await read("/latest/meta-data/spot/instance-action", headers);
    expect(JSON.parse(String(notice))).toMatchObject({ action: "stop" });
});
