import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { type BuildkitdSettings, buildkitdToml } from "../../core/buildkitd-toml";

const socket = { address: ["unix:///run/buildkit/buildkitd.sock"] };
const tls = { cert: "/c/server.crt", key: "/c/server.key", ca: "/c/ca.crt" };

function messageOf(settings: Partial<BuildkitdSettings>): string {
    try {
        buildkitdToml({ grpc: socket, ...settings });
        return "";
    } catch (error) {
        return (error as Error).message;
    }
}

describe("buildkitdToml", () => {
    it("writes a node's whole configuration under the names BuildKit reads", () => {
        const written = buildkitdToml({
            root: "/var/lib/buildkit",
            grpc: { address: ["tcp://0.0.0.0:1234", ...socket.address], tls },
            log: { format: "json", level: "info" },
            worker: {
                maxParallelism: 4,
                networkMode: "bridge",
                platforms: ["linux/arm64"],
                reservedSpace: "10 GB",
                maxUsedSpace: "60%",
                minFreeSpace: "20 GiB",
                gcpolicy: [
                    { filters: ["type==exec.cachemount"], keepDuration: "48 hours", maxUsedSpace: "512 MB" },
                    { all: true, reservedSpace: "1 GB" },
                ],
            },
            registry: {
                "docker.io": { mirrors: ["mirror.example.com:5000/docker.io"] },
                "127.0.0.1:5000": { http: true },
                "registry.example.com": { ca: ["/c/ca.pem"], keypair: [{ key: "/c/k.pem", cert: "/c/c.pem" }] },
            },
            history: { maxAge: "2 days", maxEntries: 50 },
        });
        expect(parse(written)).toEqual({
            root: "/var/lib/buildkit",
            grpc: { address: ["tcp://0.0.0.0:1234", "unix:///run/buildkit/buildkitd.sock"], tls },
            log: { format: "json", level: "info" },
            history: { maxAge: 172_800, maxEntries: 50 },
            worker: {
                containerd: { enabled: false },
                oci: {
                    enabled: true,
                    gc: true,
                    networkMode: "bridge",
                    platforms: ["linux/arm64"],
                    "max-parallelism": 4,
                    reservedSpace: 10_000_000_000,
                    maxUsedSpace: "60%",
                    minFreeSpace: 21_474_836_480,
                    gcpolicy: [
                        { filters: ["type==exec.cachemount"], keepDuration: 172_800, maxUsedSpace: 512_000_000 },
                        { all: true, reservedSpace: 1_000_000_000 },
                    ],
                },
            },
            registry: {
                "docker.io": { mirrors: ["mirror.example.com:5000/docker.io"] },
                "mirror.example.com:5000": {},
                "127.0.0.1:5000": { http: true },
                "registry.example.com": { ca: ["/c/ca.pem"], keypair: [{ key: "/c/k.pem", cert: "/c/c.pem" }] },
            },
        });
    });

    it("writes little when little is set", () => {
        expect(parse(buildkitdToml({ grpc: socket }))).toEqual({
            grpc: socket,
            worker: { containerd: { enabled: false }, oci: { enabled: true, gc: true } },
        });
    });

    it("keeps a mirror's own settings", () => {
        const registry = { "mirror:5000": { http: true }, "docker.io": { mirrors: ["mirror:5000"] } };
        expect(parse(buildkitdToml({ grpc: socket, registry })).registry).toEqual(registry);
    });

    it.each<[string, Partial<BuildkitdSettings>, string]>([
        ["no address", { grpc: { address: [] } }, "grpc.address: empty"],
        [
            "an address without a scheme",
            { grpc: { address: ["0.0.0.0:1234"] } },
            'grpc.address[0]: "0.0.0.0:1234" is not an address',
        ],
        ["an address without a port", { grpc: { address: ["tcp://127.0.0.1"] } }, "is not an address"],
        [
            "an open door",
            { grpc: { address: ["tcp://0.0.0.0:1234"] } },
            "is open to everybody who reaches it; expected grpc.tls",
        ],
        [
            "a door for any client",
            { grpc: { address: ["tcp://10.0.0.1:1"], tls: { cert: "c", key: "k" } } },
            "is open to everybody",
        ],
        [
            "http with insecure",
            { registry: { a: { http: true, insecure: true } } },
            'registry["a"]: http with insecure; plain HTTP',
        ],
        ["http with a CA", { registry: { a: { http: true, ca: ["c"] } } }, 'registry["a"]: http with certificates'],
        ["an address as registry", { registry: { "https://a": {} } }, "not a registry; expected host[:port]"],
        [
            "an address as mirror",
            { registry: { a: { mirrors: ["https://b"] } } },
            'registry["a"].mirrors[0]: "https://b" is not a mirror',
        ],
        [
            "a size",
            { worker: { maxUsedSpace: "60GB" as "60 GB" } },
            'worker.maxUsedSpace: "60GB" is not a size; did you mean "60 GB"?',
        ],
        ["more than the disk", { worker: { maxUsedSpace: "160%" } }, 'worker.maxUsedSpace: "160%" is not a size'],
        [
            "reserved over used",
            { worker: { reservedSpace: "2 GB", maxUsedSpace: "1 GB" } },
            "worker.reservedSpace: 2 GB is more than maxUsedSpace",
        ],
        [
            "a policy's time",
            { worker: { gcpolicy: [{ keepDuration: "48h" as "48 hours" }] } },
            'worker.gcpolicy[0].keepDuration: "48h" is not a duration',
        ],
        [
            "no parallel steps",
            { worker: { maxParallelism: 0 } },
            "worker.maxParallelism: 0; expected a whole number from 1",
        ],
    ])("refuses %s", (_, settings, message) => {
        expect(messageOf(settings)).toContain(message);
    });

    it("lets this machine's own clients in without certificates", () => {
        expect(messageOf({ grpc: { address: ["tcp://127.0.0.1:1234", "tcp://[::1]:1234"] } })).toBe("");
    });
});
