import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateKeyPair } from "../../drivers/cosign";
import { readPidFile } from "../../drivers/daemon";
import { cacheRoot } from "../../drivers/tools";
import { writeAdvisories, writeAppContext } from "../support/app";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { type Run, TestStack } from "../support/stack";
import { ArgumentsRecorder, secretsIn, secretsInFiles } from "../support/traces";
import { RepositoryView } from "../support/views";

const TOOLS = [
    ...["docker-buildx", "buildkitd", "runc", "cosign", "syft", "grype", "grype-advisories"],
    ...["setpriv", "sh", "tar"],
];

/** All secrets come from files: neither the test nor the settings bring one into an argument or a variable. */
const PROGRAM = `
const { readFileSync, writeFileSync } = require("node:fs");
const read = (name) => readFileSync(settings.vault + "/" + name, "utf8");
const vault = (name) => pulumi.secret(read(name));
const generated = new buildfleet.SigningKey("generated");
pulumi.all([generated.password, generated.privateKey]).apply(([password, privateKey]) => {
    if (password) writeFileSync(settings.vault + "/generated", JSON.stringify({ password, privateKey }));
});
const fleet = new buildfleet.LocalFleet("builders", { registries: { [settings.registry]: { http: true } } });
const image = new buildfleet.MultiPlatformImage("app", {
    fleet,
    repository: {
        name: settings.registry + "/team/app",
        connection: { plainHttp: true, username: read("username"), password: vault(settings.password ?? "password") },
    },
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    emulation: "allow",
    secrets: { token: vault("token") },
    scan: { advisories: "advisories" },
    sign: { key: { privateKey: vault("key"), password: vault("key-password"), publicKey: read("key.pub") } },
});
module.exports = { digest: image.digest, ref: image.ref, platforms: image.platforms,
    password: vault("password"), key: generated };
`;

const canary = (name: string) => `canary-${name}-${randomBytes(12).toString("hex")}`;
/** A line out of the middle: line ends are written in several ways. */
const middle = (pem: string) => pem.trim().split("\n")[3] ?? "";

describe("secrets", () => {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-e2e-"));
    const vault = mkdtempSync(join(tmpdir(), "buildfleet-vault-"));
    const passphrase = canary("passphrase");
    const recorder = new ArgumentsRecorder(join(folder, "wrappers"), TOOLS);
    const stack = new TestStack(PROGRAM, {
        folder,
        env: {
            PULUMI_CONFIG_PASSPHRASE: passphrase,
            PATH: [recorder.folder, process.env.PATH, join(cacheRoot(), "bin")].join(delimiter),
            BUILDFLEET_CACHE: join(folder, "cache"),
            TMPDIR: join(folder, "tmp"),
            XDG_RUNTIME_DIR: join(folder, "tmp"),
        },
    });
    const token = canary("token");
    let secrets: Record<string, string>;
    let registry: RunningRegistry;
    let settings: object;
    let released: Run;
    const printed: string[] = [];

    const run = async (command: "up" | "preview" | "refresh", more: object = {}) => {
        recorder.start();
        try {
            const result = await stack.run(command, { ...settings, ...more });
            printed.push(JSON.stringify(result), result.stderr);
            return result;
        } finally {
            recorder.stop();
        }
    };

    beforeAll(async () => {
        mkdirSync(join(folder, "tmp"));
        const keyPassword = canary("key-password");
        const [key, started] = await Promise.all([
            generateKeyPair(keyPassword),
            startRegistry({ htpasswd: account.htpasswd, storage: join(folder, "registry") }),
        ]);
        registry = started;
        const wrongPassword = canary("wrong-password");
        const files = {
            ...{ username: account.username, password: account.password, "wrong-password": wrongPassword, token },
            ...{ key: key.privateKey, "key-password": keyPassword, "key.pub": key.publicKey },
        };
        for (const [name, content] of Object.entries(files)) writeFileSync(join(vault, name), content, { mode: 0o600 });
        settings = { vault, registry: registry.registry };
        writeAppContext(stack.path("app"));
        replaceStep('RUN --mount=type=secret,id=token,required=true ["/app", "--sha256-of", "/run/secrets/token"]');
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        released = await run("up");
        const generated = JSON.parse(readFileSync(join(vault, "generated"), "utf8"));
        secrets = {
            ...{ token, keyPassword, passphrase, wrongPassword, registryPassword: account.password },
            // What Docker's configuration and the authorization header have.
            registryCredentials: `${account.username}:${account.password}`,
            ...{ privateKey: middle(key.privateKey), generatedPassword: generated.password },
            generatedKey: middle(generated.privateKey),
        };
    }, 180_000);

    afterAll(async () => {
        recorder.stop();
        await stack.dispose();
        await registry?.stop();
        rmSync(vault, { recursive: true, force: true });
    });

    function replaceStep(step: string) {
        const path = stack.path("app/Dockerfile");
        writeFileSync(path, readFileSync(path, "utf8").replace(/^RUN .*$/m, step));
    }

    it("get where they are needed", async () => {
        expect(released.errors).toEqual([]);
        expect(released.exitCode).toBe(0);
        const credentials = Buffer.from(`${account.username}:${account.password}`).toString("base64");
        const repository = new RepositoryView(`${registry.registry}/team/app`, `Basic ${credentials}`);
        const expected = createHash("sha256").update(token).digest("hex");
        for (const { digest } of Object.values<{ digest: string }>(released.outputs.platforms))
            expect((await repository.file(digest, "secret.sha256")).toString()).toBe(expected);
        expect(Object.values(secrets).every((secret) => secret.length > 10)).toBe(true);
        const anonymous = await fetch(`http://${registry.registry}/v2/team/app/tags/list`);
        expect(anonymous.status).toBe(401);
    });

    it("are found where they are: the search itself works", () => {
        const place = mkdtempSync(join(tmpdir(), "buildfleet-search-"));
        try {
            writeFileSync(join(place, "plain"), `x${secrets.token}x`);
            writeFileSync(join(place, "packed"), gzipSync(`x${secrets.keyPassword}x`));
            writeFileSync(join(place, "encoded"), Buffer.from(secrets.registryCredentials ?? "").toString("base64"));
            expect(secretsInFiles(place, secrets).found.sort()).toEqual([
                `${join(place, "encoded")}: registryCredentials`,
                `${join(place, "encoded")}: registryPassword`,
                `${join(place, "packed")}: keyPassword`,
                `${join(place, "plain")}: token`,
            ]);
        } finally {
            rmSync(place, { recursive: true, force: true });
        }
    });

    it("are in no argument of any process", () => {
        const text = recorder.text();
        // Every tool that gets a secret was seen, and so were the engine and the program above it.
        const traces = ["id=token", "attest\n--yes", "sign\n--yes", "/syft\nscan", "/buildkitd\n--config", "/cli.js\n"];
        expect(traces.filter((trace) => !text.includes(trace))).toEqual([]);
        expect(secretsIn(text, secrets)).toEqual([]);
    });

    it("are in nothing that was printed, and marked in the outputs", async () => {
        await run("preview");
        await run("refresh");
        expect(released.outputs).toMatchObject({ password: "[secret]" });
        expect(secretsIn(printed.join("\n"), secrets)).toEqual([]);
    }, 300_000);

    it("are in no file in the clear: state, logs, caches, buildx store, image layers", () => {
        // The registry's storage and log, and the nodes' caches and logs, lie below the folder, too.
        const { found, files } = secretsInFiles(folder, secrets);
        expect(found).toEqual([]);
        expect(files).toBeGreaterThan(100);
        const inState = readdirSync(stack.path("state"), { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"));
        expect(inState.join("")).toContain("ciphertext");
        expect(secretsIn(registry.log(), secrets)).toEqual([]);
    }, 300_000);

    it("are not in the environment of what lives on", () => {
        for (const node of ["amd64", "arm64"]) {
            const daemon = readPidFile(stack.path(`.buildfleet/fleet/builders/${node}/process.pid`));
            if (!daemon) throw new Error(`node ${node} does not run`);
            expect(secretsIn(readFileSync(`/proc/${daemon.pid}/environ`), secrets)).toEqual([]);
        }
    });

    it("are not in the error where the registry refuses the password", async () => {
        appendFileSync(stack.path("app/hello.txt"), "changed\n");
        const refused = await run("up", { password: "wrong-password" });
        expect(refused.exitCode).not.toBe(0);
        expect(refused.stderr).toMatch(/401|unauthorized|authentication/i);
        expect(secretsIn(printed.join("\n"), secrets)).toEqual([]);
        expect(secretsIn(recorder.text(), secrets)).toEqual([]);
        expect(secretsInFiles(folder, secrets).found).toEqual([]);
    }, 300_000);

    it("are taken out of the log of a build that prints one and fails", async () => {
        replaceStep('RUN --mount=type=secret,id=token ["/app", "--print-and-fail", "/run/secrets/token"]');
        const failed = await run("up");
        expect(failed.exitCode).not.toBe(0);
        expect(failed.stderr).toContain("it is [secret]");
        expect(secretsIn(printed.join("\n"), secrets)).toEqual([]);
        expect(secretsIn(recorder.text(), secrets)).toEqual([]);
    }, 300_000);
});
