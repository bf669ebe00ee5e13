import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RegistryClient, staticCredentials, writeDockerConfig } from "../../drivers/registry";
import { generateSbom, readSyftJson, type SbomRequest } from "../../drivers/syft";
import { cacheRoot } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { pushDebianImage } from "../support/debian-image";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { standIn } from "../support/stand-in";

const packages = [
    { name: "bash", version: "5.2.15-2+b7" },
    { name: "openssl", version: "3.0.11-1~deb12u2" },
];

let root: string;
let outDir: string;

beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "buildfleet-syft-"));
});
beforeEach(() => {
    outDir = mkdtempSync(join(root, "out-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("a bill of materials of an image in a plain-HTTP registry", () => {
    let registry: RunningRegistry;
    let client: RegistryClient;
    let request: SbomRequest;

    beforeAll(async () => {
        registry = await startRegistry();
        client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    });
    afterAll(() => registry.stop());
    beforeEach(async () => {
        const { reference } = await pushDebianImage(client, "app", packages);
        request = { reference, outDir, plainHttp: true };
    });

    it("names its packages, in both formats, and leaves nothing else behind", async () => {
        const sbom = await generateSbom({ ...request, platform: "linux/amd64" });
        expect(sbom.packages).toBe(2);
        expect(sbom.syftVersion).toMatch(/^\d+\.\d+\.\d+/);
        const spdx = JSON.parse(readFileSync(sbom.spdxJsonPath, "utf8"));
        expect(spdx.spdxVersion).toBe("SPDX-2.3");
        const named = spdx.packages.map(
            (each: { name: string; versionInfo: string }) => `${each.name} ${each.versionInfo}`,
        );
        expect(named).toEqual(expect.arrayContaining(packages.map(({ name, version }) => `${name} ${version}`)));
        expect(readSyftJson(sbom.syftJsonPath)).toMatchObject({
            packages: 2,
            manifestDigest: request.reference.split("@")[1],
        });
        expect(readdirSync(outDir).sort()).toEqual(["sbom.spdx.json", "sbom.syft.json"]);
    });

    it("of another architecture than this machine's is made all the same, and of another than asked for refused", async () => {
        const { reference } = await pushDebianImage(client, "app", packages, "arm64");
        expect(await generateSbom({ ...request, reference, platform: "linux/arm64" })).toMatchObject({ packages: 2 });
        await expect(generateSbom({ ...request, reference, platform: "linux/amd64" })).rejects.toThrow(/platform/);
    });

    it("of an image without packages counts 0", async () => {
        const { reference } = await pushDebianImage(client, "empty", []);
        expect(await generateSbom({ ...request, reference })).toMatchObject({ packages: 0 });
    });

    it("is not changed by configuration files or variables of whoever runs it", async () => {
        const home = mkdtempSync(join(root, "home-"));
        mkdirSync(join(home, ".syft"));
        writeFileSync(join(home, ".syft.yaml"), "exclude: ['**/dpkg/**']\n");
        writeFileSync(join(home, ".syft", "config.yaml"), "exclude: ['**/dpkg/**']\n");
        const before = { ...process.env };
        const variables = { HOME: home, SYFT_EXCLUDE: "**/dpkg/**", SYFT_SELECT_CATALOGERS: "-dpkg" };
        Object.assign(process.env, variables, { BUILDFLEET_CACHE: cacheRoot() }); // the tools may be below HOME
        try {
            expect(await generateSbom(request)).toMatchObject({ packages: 2 });
        } finally {
            process.env = before;
        }
    });

    it("refuses a tag, which may move", async () => {
        const reference = `${registry.registry}/app:latest`;
        await expect(generateSbom({ ...request, reference })).rejects.toThrow(/a digest, not of a tag/);
    });

    it("refuses a digest that is not there, naming the image and what syft said", async () => {
        const reference = `${registry.registry}/app@sha256:${"0".repeat(64)}`;
        const error = await generateSbom({ ...request, reference }).catch((each: Error) => each);
        expect(String(error)).toContain(reference);
        expect(String(error)).toMatch(/exited with 1[\s\S]*MANIFEST_UNKNOWN/);
        expect(readdirSync(outDir)).toEqual([]);
    });

    it.each([
        [
            "of another image",
            { source: { type: "image", metadata: { manifestDigest: `sha256:${"1".repeat(64)}` } } },
            /where .* was asked for/,
        ],
        ["of no image", { source: { type: "directory", metadata: {} } }, /read no image/],
        ["of an unknown schema", { schema: { version: "17.0.0" } }, /schema\.version/],
        ["without a list of packages", { artifacts: null }, /artifacts/],
    ])("refuses what a stand-in for syft wrote: a document %s", async (_case, change, message) => {
        const document = {
            artifacts: [],
            source: { type: "image", metadata: { manifestDigest: request.reference.split("@")[1] } },
            descriptor: { name: "syft", version: "1.54.1" },
            schema: { version: "16.1.11" },
            ...change,
        };
        // It writes where the first output option says: `-o syft-json=PATH`.
        const script = `for word; do case $word in syft-json=*) cat > "\${word#*=}";; esac; done <<'END'\n${JSON.stringify(document)}\nEND`;
        const undo = standIn(root, "syft", script);
        try {
            await expect(generateSbom(request)).rejects.toThrow(message);
        } finally {
            undo();
        }
    });
});

describe("a bill of materials of an image in a registry with its own authority and accounts", () => {
    let registry: RunningRegistry;
    let request: SbomRequest;

    beforeAll(async () => {
        const authority = await createAuthority({ name: "registry", days: 1 });
        const tls = await issueCertificate({
            authority,
            commonName: "registry",
            usage: "server",
            ipAddresses: ["127.0.0.1"],
            days: 1,
        });
        registry = await startRegistry({ tls, htpasswd: account.htpasswd });
        const { username, password } = account;
        const client = new RegistryClient({
            registry: registry.registry,
            ca: authority.certificate,
            credentials: staticCredentials({ username, password }),
        });
        const { reference } = await pushDebianImage(client, "app", packages);
        const ca = join(root, "ca.pem");
        writeFileSync(ca, authority.certificate);
        const dockerConfig = mkdtempSync(join(root, "docker-"));
        await writeDockerConfig(dockerConfig, { [registry.registry]: { username, password } });
        request = { reference, outDir: root, plainHttp: false, ca, dockerConfig };
    });
    afterAll(() => registry.stop());

    it("is made with the authority and the Docker configuration given", async () => {
        expect(await generateSbom({ ...request, outDir })).toMatchObject({ packages: 2 });
    });

    it("is refused without either", async () => {
        const anonymous = { ...request, outDir, dockerConfig: mkdtempSync(join(root, "none-")) };
        await expect(generateSbom(anonymous)).rejects.toThrow(/UNAUTHORIZED/);
        const { ca: _, ...untrusting } = { ...request, outDir };
        await expect(generateSbom(untrusting)).rejects.toThrow(/certificate signed by unknown authority/);
    });
});
