import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { parse as parseToml } from "smol-toml";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import {
    BUILDKIT_PORT,
    encodeUserData,
    HOST_COMMANDS,
    type HostSettings,
    hostFiles,
    METRICS,
    renderUserData,
    USER_DATA_LIMIT,
} from "../../core/host";
import { HostRoom } from "./host-room";
import { hostSettings } from "./host-settings";

const SOURCES = join(__dirname, "../../core/host/files");
const folder = mkdtempSync(join(tmpdir(), "host-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fileOf = (settings: HostSettings, path: string) => {
    const found = hostFiles(settings).find((file) => file.path === path);
    if (!found) throw new Error(`no ${path}`);
    return found.content;
};

/** Texts that break naive quoting: of shells, of YAML, of units; and whatever else fast-check thinks of. */
const hostile = fc
    .oneof(
        fc.constantFrom(
            "'; touch /tmp/pwned; '",
            '$(id) `id` "$HOME" \\',
            "a\nruncmd: [id]\n",
            "x\r\ny",
            "--- \n- &a *a !!python/object",
            " leading",
            "trailing ",
            "\ttab",
            "# comment",
            "%h %%",
            "é 日本 🙂 \u2028 \u0085 \ufeff",
            "\u0007\u001b[31m\u007f",
            "",
        ),
        fc.string({ unit: "grapheme", maxLength: 40 }),
        fc.string({ unit: "binary", maxLength: 40 }),
    )
    .filter((text) => !text.includes("\0") && !/\p{Cs}/u.test(text));

const hostileSettings = fc
    .record({ fleet: hostile, node: hostile, release: hostile, parameter: hostile, group: hostile, endpoint: hostile })
    .map(({ fleet, node, release, parameter, group, endpoint }) =>
        hostSettings({
            fleet,
            node,
            release,
            tls: { kind: "ssm", parameter, pollSeconds: 60 },
            metrics: { logGroup: group, namespace: group, everySeconds: 60 },
            awsEndpoint: endpoint,
        }),
    );

/** As cloud-init's module write_files reads an entry. */
const contentOf = ({ encoding, content }: { encoding?: string; content: string }) =>
    encoding === "b64" ? Buffer.from(content, "base64").toString("utf8") : content;

describe("the scripts", () => {
    const scripts = readdirSync(SOURCES).filter((name) => name.endsWith(".sh"));

    it.each(scripts)("shellcheck has nothing to say about %s", (name) => {
        const { stdout, status } = spawnSync(
            "shellcheck",
            ["--external-sources", "--severity=style", join(SOURCES, name)],
            {
                encoding: "utf8",
                cwd: SOURCES,
            },
        );
        expect(stdout).toBe("");
        expect(status).toBe(0);
    });

    it("reads nothing that is not in host.env", () => {
        const written = new Set(
            fileOf(hostSettings({ rootless: true }), "/etc/buildfleet/host.env")
                .split("\n")
                .flatMap((line) => /^([A-Z0-9_]+)=/.exec(line)?.[1] ?? []),
        );
        const own = /^(RUN|STATE|PORT|METADATA|SCRIPT|PATH|BUILDKIT_HOST|BRIDGE|SECONDS|MAINPID|DEBIAN_FRONTEND|EXIT)$/;
        const used = scripts.flatMap((name) =>
            [...readFileSync(join(SOURCES, name), "utf8").matchAll(/\$\{?([A-Z][A-Z0-9_]+)/g)].map(
                (match) => match[1] ?? "",
            ),
        );
        expect(new Set(used.filter((name) => !own.test(name) && !written.has(name)))).toEqual(new Set());
        expect([...written].filter((name) => !used.includes(name))).toEqual(["ARCHITECTURE"]);
    });

    it("agrees with the library on the port and the names of the metrics", () => {
        expect(readFileSync(join(SOURCES, "lib.sh"), "utf8")).toContain(`\nPORT=${BUILDKIT_PORT}\n`);
        for (const name of Object.values(METRICS)) {
            expect(readFileSync(join(SOURCES, "metrics.sh"), "utf8")).toContain(`"${name}": "`);
        }
    });
});

describe("the units", () => {
    it("are what systemd takes, whatever is switched on", async () => {
        const room = await new HostRoom().open(() => (_request, response) => void response.writeHead(404).end());
        try {
            for (const settings of [hostSettings(), hostSettings({ idle: undefined, metrics: undefined })]) {
                await room.run("rm", "-rf", "/etc/systemd/system");
                room.install(settings);
                room.write("/opt/buildfleet/buildkit/current/bin/buildkitd", "#!/bin/sh\n", 0o755);
                const units = hostFiles(settings)
                    .map(({ path }) => path)
                    .filter((path) => /\.(service|timer)$/.test(path));
                expect(units.length).toBeGreaterThan(8);
                const { code, stderr } = await room.run("systemd-analyze", "verify", "--man=no", ...units);
                expect(stderr.split("\n").filter((line) => /buildfleet|buildkit/.test(line))).toEqual([]);
                expect(code).toBe(0);
            }
        } finally {
            await room.close();
        }
    });

    it("give a drain its whole time before systemd loses patience", () => {
        const stop = fileOf(
            hostSettings({ drainTimeoutSeconds: 7200 }),
            "/etc/systemd/system/buildkitd.service.d/settings.conf",
        );
        expect(stop).toBe("[Service]\nTimeoutStopSec=7230\n");
    });

    it("start only what the settings ask for", () => {
        const units = (settings: HostSettings) =>
            /UNITS='([^']*)'/.exec(fileOf(settings, "/etc/buildfleet/host.env"))?.[1];
        expect(units(hostSettings())).toContain("buildfleet-idle.timer");
        expect(units(hostSettings({ idle: undefined }))).not.toContain("idle");
        expect(units(hostSettings({ metrics: undefined }))).not.toContain("metrics");
        const paths = hostFiles(hostSettings({ idle: undefined, metrics: undefined })).map(({ path }) => path);
        expect(paths.filter((path) => /systemd.*(idle|metrics)/.test(path))).toEqual([]);
    });
});

describe("buildkitd.toml", () => {
    it("lets in nobody without a certificate, gives build steps a network of their own and no entitlement", () => {
        const document = parseToml(fileOf(hostSettings(), "/etc/buildfleet/buildkitd.toml"));
        const tls = "/etc/buildfleet/tls/current";
        expect(document).toEqual({
            root: "/var/lib/buildkit",
            grpc: {
                address: ["unix:///run/buildkit/buildkitd.sock", "tcp://0.0.0.0:8372"],
                tls: { cert: `${tls}/cert.pem`, key: `${tls}/key.pem`, ca: `${tls}/ca.pem` },
            },
            worker: {
                containerd: { enabled: false },
                oci: {
                    enabled: true,
                    gc: true,
                    networkMode: "bridge",
                    bridgeName: "buildfleet0",
                    bridgeSubnet: "10.201.0.0/16",
                    "max-parallelism": 8,
                    reservedSpace: 20_000_000_000,
                    maxUsedSpace: "65%",
                    minFreeSpace: 20_000_000_000,
                },
            },
        });
    });

    it("names the authorities where they are written", () => {
        const settings = hostSettings({
            registries: { "registry.example.com": { ca: ["/etc/buildfleet/ca/registry.pem"] } },
            authorities: { "registry.pem": "PEM\n" },
        });
        expect(fileOf(settings, "/etc/buildfleet/ca/registry.pem")).toBe("PEM\n");
        expect(fileOf(settings, "/etc/buildfleet/buildkitd.toml")).toContain("/etc/buildfleet/ca/registry.pem");
    });
});

describe("renderUserData", () => {
    it("carries every file as it is, the last one being the signal to start, and no secret", () => {
        const settings = hostSettings();
        const text = renderUserData(settings);
        expect(text.startsWith("#cloud-config\n")).toBe(true);
        const document = parse(text);
        expect(
            document.write_files.map(({ permissions: mode, ...file }: { permissions: string }) => ({ ...file, mode })),
        ).toEqual([
            expect.objectContaining({ path: "/etc/cloud/cloud.cfg.d/99_buildfleet.cfg" }),
            ...hostFiles(settings),
        ]);
        expect(document.write_files.at(-1).path).toBe("/etc/buildfleet/ready");
        expect(document.bootcmd[0].join(" ")).toContain("PathExists=/etc/buildfleet/ready");
        expect(document.runcmd).toEqual(HOST_COMMANDS);
        expect(text).not.toMatch(/PRIVATE KEY-----\n/);
        // For who reads it: lines, not one quoted string.
        expect(text).toContain("\n    content: |\n      #!/bin/bash\n");
    });

    it("survives any text, read by the YAML library that cloud-init uses", () => {
        const program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin.buffer)))";
        fc.assert(
            fc.property(hostileSettings, (settings) => {
                const text = renderUserData(settings);
                const read = JSON.parse(
                    execFileSync("/usr/bin/python3", ["-c", program], { input: text, encoding: "utf8" }),
                );
                expect(Object.keys(read)).toEqual(["bootcmd", "write_files", "runcmd"]);
                expect(read.write_files.slice(1).map(contentOf)).toEqual(
                    hostFiles(settings).map(({ content }) => content),
                );
            }),
            { numRuns: 60 },
        );
    });

    it("gives scripts the very values, whatever is in them", () => {
        const names = ["FLEET", "NODE", "RELEASE", "TLS_PARAMETER", "LOG_GROUP", "AWS_ENDPOINT"];
        const path = join(folder, "host.env");
        const script = `. ${path}; printf '%s\\0' ${names.map((name) => `"$${name}"`).join(" ")}`;
        fc.assert(
            fc.property(hostileSettings, (settings) => {
                writeFileSync(path, fileOf(settings, "/etc/buildfleet/host.env"));
                const read = execFileSync("bash", ["--norc", "-euc", script], { encoding: "utf8", cwd: folder }).split(
                    "\0",
                );
                expect(read.slice(0, -1)).toEqual([
                    ...[
                        settings.fleet,
                        settings.node,
                        settings.release,
                        settings.tls.parameter,
                        settings.metrics?.logGroup,
                    ],
                    settings.awsEndpoint?.replace(/\/+$/, ""),
                ]);
                expect(readdirSync(folder)).toEqual(["host.env"]);
            }),
            { numRuns: 60 },
        );
    });
});

describe("hostFiles refuses", () => {
    const { buildkit } = hostSettings();
    it.each<[string, Partial<HostSettings>, RegExp]>([
        [
            "a version that leaves its folder",
            { buildkit: { ...buildkit, version: "../../etc" } },
            /"\.\.\/\.\.\/etc" can't be in/,
        ],
        [
            "a sum that is none",
            { buildkit: { ...buildkit, artifact: { ...buildkit.artifact, sha256: "abc" } } },
            /64 hexadecimal/,
        ],
        [
            "a URL of files",
            { buildkit: { ...buildkit, artifact: { ...buildkit.artifact, url: "file:///etc/shadow" } } },
            /http or https/,
        ],
        ["a volume that is none", { cache: { kind: "volume", volumeId: "/dev/sda" } }, /volume id/],
        ["an authority outside its folder", { authorities: { "../host.env": "" } }, /file name/],
        ["a NUL, which no shell can hold", { release: "a\0b" }, /without NUL/],
        ["a time that is none", { drainTimeoutSeconds: Number.NaN }, /NaN .* whole number/],
        ["registries that BuildKit would refuse", { registries: { "a b": {} } }, /not a registry/],
    ])("%s", (_what, changed, message) => {
        expect(() => hostFiles({ ...hostSettings(), ...changed })).toThrow(message);
    });
});

describe("encodeUserData", () => {
    const random = (length: number) => randomBytes(length).toString("base64url").slice(0, length);

    it("is what cloud-init unpacks", () => {
        const text = renderUserData(hostSettings());
        const { base64, bytes } = encodeUserData(text);
        const compressed = Buffer.from(base64, "base64");
        expect(compressed.length).toBe(bytes);
        expect(gunzipSync(compressed).toString("utf8")).toBe(text);
    });

    it("leaves room for the longest names, a dozen registries and a private authority", () => {
        const { buildkit } = hostSettings();
        const host = () => `${random(20)}.example.com`.replaceAll("_", "a").replace(/^-|-(?=\.)/g, "a");
        const [project, stack, fleet, node] = [random(100), random(100), random(64), random(64)];
        const settings = hostSettings({
            ...{ fleet, node, release: random(128) },
            buildkit: {
                ...buildkit,
                artifact: { ...buildkit.artifact, url: `https://example.com/${random(300)}` },
            },
            tls: {
                kind: "ssm",
                parameter: `/buildfleet/${project}/${stack}/${fleet}/${node}/tls`,
                pollSeconds: 86_400,
            },
            metrics: {
                logGroup: `/buildfleet/${project}/${stack}/${fleet}`,
                namespace: random(64),
                everySeconds: 3600,
            },
            awsEndpoint: `https://${random(100)}`,
            registries: Object.fromEntries(
                Array.from({ length: 12 }, () => [host(), { mirrors: [host()], ca: ["/etc/buildfleet/ca/a"] }]),
            ),
            // As much as a certificate with an RSA key of 2048 bits.
            authorities: { a: randomBytes(800).toString("base64") },
        });
        const { bytes } = encodeUserData(renderUserData(settings));
        expect(bytes).toBeLessThanOrEqual(USER_DATA_LIMIT);
    });

    it("says what to leave out when it is too much for EC2", () => {
        const authorities = { a: randomBytes(20_000).toString("base64") };
        const text = renderUserData(hostSettings({ authorities }));
        expect(() => encodeUserData(text)).toThrow(/has \d+ bytes, compressed; EC2 takes 16384: fewer registries/);
    });
});
