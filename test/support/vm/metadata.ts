import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

/** What a machine on EC2 is told about itself. */
export interface MachineIdentity {
    /** `i-` and 17 hexadecimal digits. */
    instanceId: string;
    region: string;
    availabilityZone: string;
    instanceType: string;
    architecture: "amd64" | "arm64";
    /** Of its first network interface. */
    macAddress: string;
    privateIp: string;
    role: string;
    userData: Buffer;
}

/** Temporary credentials of the machine's role. */
export interface RoleCredentials {
    accessKeyId: string;
    secretAccessKey: string;
    sessionToken: string;
    /** ISO 8601. */
    expiration: string;
}

/** Text, or what is below it. */
type Tree = { [name: string]: string | Buffer | Tree };

const TOKEN_HEADER = "x-aws-ec2-metadata-token";
const TTL_HEADER = `${TOKEN_HEADER}-ttl-seconds`;
const MAXIMUM_TTL = 21_600;

/**
 * EC2's instance metadata service, version 2 only (`HttpTokens: required`), after EC2's user guide, "Access instance metadata":
 * a token by PUT with its time to live, without it 401 for everything; folders are listed, unknown paths are 404.
 */
export class MetadataService {
    /** Tags as the machine sees them (`InstanceMetadataTags: enabled`). */
    readonly tags: Record<string, string> = {};
    /** What was asked for: `GET /latest/meta-data/…`, with the status it got. */
    readonly requests: { method: string; path: string; status: number }[] = [];
    credentials: RoleCredentials;
    private interruption: { action: string; time: string } | undefined;
    private readonly tokens = new Map<string, number>();

    constructor(private readonly identity: MachineIdentity) {
        this.credentials = newCredentials();
    }

    /** EC2's notice two minutes before it takes a spot instance back. */
    interrupt(action: "stop" | "terminate" | "hibernate" = "terminate"): void {
        const time = new Date(Date.now() + 120_000).toISOString().replace(/\.\d+Z$/, "Z");
        this.interruption = { action, time };
    }

    /** New credentials, as EC2 makes them some time before the old ones expire. */
    renewCredentials(): void {
        this.credentials = newCredentials();
    }

    readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
        const path = new URL(request.url ?? "/", "http://metadata").pathname;
        const [status, body] = this.answer(request, decodeURIComponent(path));
        this.requests.push({ method: request.method ?? "", path, status });
        response.writeHead(status, { "content-type": "text/plain", "content-length": body.length });
        response.end(body);
    };

    private answer({ method, headers }: IncomingMessage, path: string): [number, Buffer] {
        const text = (status: number, body = ""): [number, Buffer] => [status, Buffer.from(body)];
        if (method === "PUT" && path === "/latest/api/token") {
            const seconds = Number(headers[TTL_HEADER]);
            if (!Number.isInteger(seconds) || seconds < 1 || seconds > MAXIMUM_TTL) return text(400, "Bad Request");
            // A request that came through a proxy gets no token: the guard against open proxies.
            if (headers["x-forwarded-for"]) return text(403, "Forbidden");
            const token = randomBytes(42).toString("base64url");
            this.tokens.set(token, Date.now() + seconds * 1000);
            return text(200, token);
        }
        if (method !== "GET" && method !== "HEAD") return text(405, "Method Not Allowed");
        const token = headers[TOKEN_HEADER];
        if (typeof token !== "string" || (this.tokens.get(token) ?? 0) < Date.now()) return text(401, "Unauthorized");
        const found = lookUp(this.tree(), path.split("/").filter(Boolean));
        return found === undefined ? text(404, "Not Found") : [200, found];
    }

    private tree(): Tree {
        const { identity } = this;
        const version = (): Tree => ({
            "meta-data": this.metadata(),
            dynamic: { "instance-identity": { document: identityDocument(identity) } },
            "user-data": identity.userData,
        });
        // The versions that cloud-init asks for, and the one that everybody else does.
        return Object.fromEntries(
            ["latest", "2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04"].map((name) => [name, version()]),
        );
    }

    private metadata(): Tree {
        const { instanceId, instanceType, availabilityZone, region, macAddress, privateIp, role } = this.identity;
        const name = `ip-${privateIp.replaceAll(".", "-")}.${region}.compute.internal`;
        const { credentials } = this;
        const security = {
            Code: "Success",
            LastUpdated: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
            Type: "AWS-HMAC",
            AccessKeyId: credentials.accessKeyId,
            SecretAccessKey: credentials.secretAccessKey,
            Token: credentials.sessionToken,
            Expiration: credentials.expiration,
        };
        return {
            "ami-id": "ami-0123456789abcdef0",
            hostname: name,
            iam: { "security-credentials": { [role]: JSON.stringify(security, null, 2) } },
            "instance-id": instanceId,
            "instance-type": instanceType,
            "local-hostname": name,
            "local-ipv4": privateIp,
            mac: macAddress,
            network: {
                interfaces: {
                    macs: {
                        [macAddress]: {
                            "device-number": "0",
                            "local-ipv4s": privateIp,
                            mac: macAddress,
                            "subnet-ipv4-cidr-block": `${privateIp.replace(/\d+$/, "0")}/24`,
                        },
                    },
                },
            },
            placement: { "availability-zone": availabilityZone, region },
            services: { domain: "amazonaws.com", partition: "aws" },
            ...(this.interruption && {
                spot: {
                    "instance-action": JSON.stringify(this.interruption),
                    "termination-time": this.interruption.time,
                },
            }),
            ...(Object.keys(this.tags).length > 0 && { tags: { instance: { ...this.tags } } }),
        };
    }
}

function lookUp(tree: Tree, path: string[]): Buffer | undefined {
    let here: Tree[string] | undefined = tree;
    for (const name of path) {
        if (here === undefined || typeof here === "string" || Buffer.isBuffer(here)) return undefined;
        here = here[name];
    }
    if (here === undefined || Buffer.isBuffer(here)) return here;
    if (typeof here === "string") return Buffer.from(here);
    const isFolder = (value: Tree[string]) => typeof value === "object" && !Buffer.isBuffer(value);
    const names = Object.entries(here).map(([name, value]) => (isFolder(value) ? `${name}/` : name));
    return Buffer.from(names.join("\n"));
}

function identityDocument(identity: MachineIdentity): string {
    const { instanceId, region, availabilityZone, instanceType, architecture, privateIp } = identity;
    return JSON.stringify(
        {
            accountId: "123456789012",
            architecture: architecture === "amd64" ? "x86_64" : "arm64",
            availabilityZone,
            imageId: "ami-0123456789abcdef0",
            instanceId,
            instanceType,
            pendingTime: new Date().toISOString(),
            privateIp,
            region,
            version: "2017-09-30",
        },
        null,
        2,
    );
}

/** In the form of temporary credentials; real only for the front that checks signatures against them. */
function newCredentials(): RoleCredentials {
    const letters = randomBytes(10).toString("hex").toUpperCase().slice(0, 16);
    return {
        accessKeyId: `ASIA${letters}`,
        secretAccessKey: randomBytes(30).toString("base64"),
        sessionToken: randomBytes(200).toString("base64"),
        expiration: new Date(Date.now() + 6 * 3600_000).toISOString().replace(/\.\d+Z$/, "Z"),
    };
}
