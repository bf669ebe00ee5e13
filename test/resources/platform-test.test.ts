import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findTool } from "../../drivers/tools";
import { operations as builders } from "../../resources/buildx-builder/operations";
import { type Inputs, operations } from "../../resources/platform-test/operations";
import { writeAppContext } from "../support/app";
import { type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { type RunningRegistry, startRegistry } from "../support/registry";

const [native, foreign] = process.arch === "arm64" ? ["arm64", "amd64"] : ["amd64", "arm64"];
const platform = `linux/${native}`;

let root: string;
let before: string | undefined;
let registry: RunningRegistry;
let buildkitd: RunningBuildkitd;

beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "buildfleet-platform-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = join(root, "buildx");
    [registry, buildkitd] = await Promise.all([startRegistry(), startBuildkitd()]);
    writeAppContext(join(root, "app"));
    writeFileSync(join(root, "app/start.sh"), "#!/app --from-script\n", { mode: 0o755 });
    writeFileSync(join(root, "app/orphan.sh"), "#!/bin/missing\n", { mode: 0o755 });
    writeFileSync(join(root, "app/loop.sh"), "#!/loop.sh\n", { mode: 0o755 });
    writeFileSync(join(root, "app/notes.txt"), "no program\n", { mode: 0o755 });
    const nodes = [{ name: "node", endpoint: buildkitd.endpoint, platforms: [platform] }];
    await builders.create({ name: "tests", platform, emulation: "refuse", placementKey: "tests", nodes });
});
afterAll(async () => {
    await Promise.all([registry?.stop(), buildkitd?.stop()]);
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(root, { recursive: true, force: true });
});

const repository = () => `${registry.registry}/app`;

/** Builds an image from scratch with these lines on the node, pushed by digest. */
function build(...lines: string[]): string {
    writeFileSync(join(root, "Dockerfile"), ["FROM scratch", ...lines, ""].join("\n"));
    const metadata = join(root, "metadata.json");
    execFileSync(
        findTool("docker-buildx"),
        [
            ...["build", "--builder", "tests", "--platform", platform, "--provenance=false"],
            ...["--output", `type=image,name=${repository()},push=true,push-by-digest=true,name-canonical=true`],
            ...["--metadata-file", metadata, "-f", join(root, "Dockerfile"), join(root, "app")],
        ],
        { stdio: "pipe" },
    );
    return JSON.parse(readFileSync(metadata, "utf8"))["containerimage.digest"];
}

const test = async (digest: string, more: Partial<Inputs> = {}) =>
    (
        await operations.create({
            repository: repository(),
            connection: { plainHttp: true },
            platform,
            digest,
            builder: "tests",
            command: [],
            timeoutSeconds: 60,
            ...more,
        })
    ).outs;

const APP = `COPY app-${native} /app`;

describe("the test of a platform", () => {
    it("accepts a binary of the platform's architecture", async () => {
        expect((await test(build(APP, 'ENTRYPOINT ["/app"]'))).entrypoint).toBe(`/app is ${native}`);
    });

    it("refuses a binary of another architecture, which no RUN step ever met", async () => {
        await expect(test(build(`COPY app-${foreign} /app`, 'ENTRYPOINT ["/app"]'))).rejects.toThrow(
            `${platform}: /app is a binary for ${foreign}; no tag was moved. next: build it for the target`,
        );
    });

    it("takes the command where there is no entry point", async () => {
        expect((await test(build(APP, 'CMD ["/app"]'))).entrypoint).toBe(`/app is ${native}`);
    });

    it("looks at a script's interpreter", async () => {
        const good = build(APP, "COPY start.sh /start.sh", 'ENTRYPOINT ["/start.sh"]');
        expect((await test(good)).entrypoint).toBe(`/app is ${native}`);
        const bad = build(`COPY app-${foreign} /app`, "COPY start.sh /start.sh", 'ENTRYPOINT ["/start.sh"]');
        await expect(test(bad)).rejects.toThrow(`/app is a binary for ${foreign}`);
    });

    it("finds a name in the image's PATH, in its order", async () => {
        const lines = (first: string, second: string) => [
            `COPY app-${first} /opt/one/app`,
            `COPY app-${second} /opt/two/app`,
            "ENV PATH=/opt/none:/opt/one:/opt/two",
            'ENTRYPOINT ["app"]',
        ];
        expect((await test(build(...lines(native, foreign)))).entrypoint).toBe(`app is ${native}`);
        await expect(test(build(...lines(foreign, native)))).rejects.toThrow(`app is a binary for ${foreign}`);
    });

    it("finds a program whose name has a wildcard's characters in it", async () => {
        const digest = build(`COPY app-${native} "/a[1]*"`, 'ENTRYPOINT ["/a[1]*"]');
        expect((await test(digest)).entrypoint).toBe(`/a[1]* is ${native}`);
    });

    it.each([
        ["nothing to start", [APP], "the image has neither ENTRYPOINT nor CMD"],
        [
            "a program that is not there",
            [APP, 'ENTRYPOINT ["/missing"]'],
            "/missing is not in the image (looked at /missing)",
        ],
        [
            "an interpreter that is not there",
            ["COPY orphan.sh /s", 'ENTRYPOINT ["/s"]'],
            "/bin/missing is not in the image",
        ],
        [
            "a script that interprets itself",
            ["COPY loop.sh /loop.sh", 'ENTRYPOINT ["/loop.sh"]'],
            "is a script whose interpreters are scripts",
        ],
        [
            "what is no program",
            ["COPY notes.txt /n", 'ENTRYPOINT ["/n"]'],
            "/n is neither an ELF executable nor a script",
        ],
    ])("refuses %s", async (_case, lines, message) => {
        await expect(test(build(...lines))).rejects.toThrow(`${platform}: `);
        await expect(test(build(...lines))).rejects.toThrow(message);
    });

    it("runs the user's command in the image, every time", async () => {
        const digest = build(APP, 'ENTRYPOINT ["/app"]');
        await test(digest, { command: ["/app", "--version"] });
        await expect(test(digest, { command: ["/app", "--fail"] })).rejects.toThrow(
            /failing as asked[\s\S]*no tag was moved/,
        );
        await expect(test(digest, { command: ["/app", "--fail"] })).rejects.toThrow("failing as asked");
    });

    it("ends a command that takes too long", async () => {
        const digest = build(APP, 'ENTRYPOINT ["/app"]');
        await expect(test(digest, { command: ["/app"], timeoutSeconds: 0.05 })).rejects.toThrow(
            `gave no result within 0.05 s (${platform}, builder tests)`,
        );
    });
});
