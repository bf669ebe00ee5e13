import {
    appendFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { childTag } from "../../core/aws/ecr-lifecycle";
import { cacheRoot } from "../../drivers/tools";
import { writeAdvisories, writeAppContext } from "../support/app";
import { ECR_HTPASSWD, ECR_TOKEN, NEXT_HTPASSWD, NEXT_TOKEN, serveTokens, type TokenService } from "../support/ecr";
import { type AwsProxy, type Moto, startAwsProxy, startMoto } from "../support/moto";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { type Run, TestStack } from "../support/stack";
import { ArgumentsRecorder, secretsIn, secretsInFiles } from "../support/traces";
import { RepositoryView, WHOLE_CHILD, WHOLE_INDEX } from "../support/views";

const TOOLS = ["docker-buildx", "buildkitd", "runc", "cosign", "syft", "grype", "grype-advisories", "setpriv", "sh"];

const PROGRAM = `
const fleet = new buildfleet.LocalFleet("builders", { registries: { [settings.registry]: { http: true } } });
const key = new buildfleet.SigningKey("key");
const image = new buildfleet.MultiPlatformImage("app", {
    fleet,
    repository: {
        name: settings.registry + "/team/app",
        connection: settings.whole
            ? pulumi.output({ ecr: { region: "eu-central-1" } })
            : { plainHttp: true, ecr: { region: pulumi.output("eu-central-1") } },
    },
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    emulation: "allow",
    scan: { advisories: "advisories" },
    sign: { key: settings.key ? pulumi.output(settings.key) : key },
});
module.exports = { digest: image.digest, ref: image.ref, platforms: image.platforms };
`;

const HOUR_MS = 3_600_000;
const secrets = {
    token: ECR_TOKEN,
    credentials: `AWS:${ECR_TOKEN}`,
    nextToken: NEXT_TOKEN,
    nextCredentials: `AWS:${NEXT_TOKEN}`,
};

describe("a stack that releases to ECR", () => {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-e2e-"));
    const recorder = new ArgumentsRecorder(join(folder, "wrappers"), TOOLS);
    const printed: string[] = [];
    let stack: TestStack;
    let moto: Moto;
    let proxy: AwsProxy;
    let tokens: TokenService;
    let registry: RunningRegistry;
    let first: Run;

    const run = async (command: "up" | "preview" | "destroy"): Promise<Run> => {
        recorder.start();
        try {
            const result = await stack.run(command, { registry: registry.registry });
            printed.push(JSON.stringify(result), result.stderr);
            if (result.exitCode !== 0) throw new Error(`${command} failed:\n${result.stderr}`);
            return result;
        } finally {
            recorder.stop();
        }
    };
    const dockerConfig = () => JSON.parse(readFileSync(stack.path("docker/config.json"), "utf8"));
    const entry = (token: string) => ({ auth: Buffer.from(`AWS:${token}`).toString("base64") });
    const view = (token: string) =>
        new RepositoryView(`${registry.registry}/team/app`, `Basic ${Buffer.from(`AWS:${token}`).toString("base64")}`);
    /** As if the login had been made hours ago. */
    function age(hours: number) {
        const path = stack.path("cache/logins");
        for (const name of readdirSync(path)) {
            const note = JSON.parse(readFileSync(join(path, name), "utf8"));
            for (const time of ["madeAt", "expiresAt"]) note[time] -= hours * HOUR_MS;
            writeFileSync(join(path, name), JSON.stringify(note));
        }
    }

    beforeAll(async () => {
        mkdirSync(join(folder, "tmp"));
        [moto, registry] = await Promise.all([
            startMoto(),
            startRegistry({ htpasswd: ECR_HTPASSWD, storage: join(folder, "registry") }),
        ]);
        proxy = await startAwsProxy(moto);
        tokens = serveTokens(proxy);
        const { AWS_ENDPOINT_URL, ...aws } = proxy.env;
        stack = new TestStack(PROGRAM, {
            folder,
            env: {
                ...aws,
                AWS_ENDPOINT_URL_ECR: proxy.url,
                PATH: [recorder.folder, process.env.PATH, join(cacheRoot(), "bin")].join(delimiter),
                BUILDFLEET_CACHE: join(folder, "cache"),
                TMPDIR: join(folder, "tmp"),
                XDG_RUNTIME_DIR: join(folder, "tmp"),
            },
        });
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        first = await run("up");
    }, 240_000);

    afterAll(async () => {
        recorder.stop();
        await stack?.dispose();
        await proxy?.stop();
        await Promise.all([moto?.close(), registry?.stop()]);
        rmSync(folder, { recursive: true, force: true });
    });

    it("builds, scans, signs and releases from a machine that is logged in nowhere", async () => {
        expect(first.did).toEqual(expect.arrayContaining(["create app-login", "create app-docker-build"]));
        const repository = view(ECR_TOKEN);
        const digests = Object.values<{ digest: string }>(first.outputs.platforms).map(({ digest }) => digest);
        // What ECR's rules of expiry know platforms' images by.
        expect((await repository.tags()).sort()).toEqual(expect.arrayContaining(["stable", ...digests.map(childTag)]));
        expect(await repository.attached(first.outputs.digest)).toEqual(WHOLE_INDEX);
        for (const digest of digests) expect(await repository.attached(digest)).toEqual(WHOLE_CHILD);
        expect((await fetch(`http://${registry.registry}/v2/team/app/tags/list`)).status).toBe(401);
        expect(dockerConfig()).toEqual({ auths: { [registry.registry]: entry(ECR_TOKEN) } });
    });

    it("keeps the token out of state, arguments, logs and every file but Docker's configuration", () => {
        expect(recorder.text()).toContain("sign\n--yes");
        expect(secretsIn(recorder.text(), secrets)).toEqual([]);
        expect(secretsIn(printed.join("\n"), secrets)).toEqual([]);
        const { found, files } = secretsInFiles(folder, secrets);
        expect(found).toEqual([`${stack.path("docker/config.json")}: credentials`]);
        expect(files).toBeGreaterThan(100);
        expect(secretsIn(registry.log(), secrets)).toEqual([]);
    }, 300_000);

    it("changes nothing on the next up", async () => {
        const asked = tokens.asked;
        expect((await run("up")).did).toEqual([]);
        expect(tokens.asked).toBe(asked);
    }, 300_000);

    it("refuses a connection that hides its ecr in an output, and says how it is given", async () => {
        const refused = await stack.run("preview", { registry: registry.registry, whole: true });
        expect(refused.exitCode).not.toBe(0);
        expect(refused.stderr).toContain('connection: { ecr: { region: stack.requireOutput("region") } }');
    }, 300_000);

    it("looks at a key that is an output as soon as it is known", async () => {
        const refused = await stack.run("preview", { registry: registry.registry, key: "aws:///alias/images" });
        expect(refused.exitCode).not.toBe(0);
        expect(refused.stderr).toContain('sign.key: "aws://" is not a KMS this library knows');
    }, 300_000);

    it("renews a token that is half used, and builds nothing for it", async () => {
        age(7);
        tokens.answer({ token: NEXT_TOKEN });
        await registry.setHtpasswd(NEXT_HTPASSWD);
        expect((await run("preview")).did).toEqual(["update app-login"]);
        expect(dockerConfig().auths[registry.registry]).toEqual(entry(ECR_TOKEN));
        const again = await run("up");
        expect(again.did).toEqual(["update app-login"]);
        expect(again.outputs.ref).toBe(first.outputs.ref);
        expect(dockerConfig().auths[registry.registry]).toEqual(entry(NEXT_TOKEN));
    }, 300_000);

    it("logs in on another runner, and builds what changed there with the new login", async () => {
        rmSync(stack.path("docker"), { recursive: true });
        appendFileSync(stack.path("app/hello.txt"), "changed\n");
        const { did, outputs } = await run("up");
        expect(did).toEqual(expect.arrayContaining(["update app-login", "update app-image-linux-amd64"]));
        expect(did.filter((step) => step.startsWith("create"))).toEqual([]);
        expect(outputs.digest).not.toBe(first.outputs.digest);
        expect(await view(NEXT_TOKEN).attached(outputs.digest)).toEqual(WHOLE_INDEX);
        expect(secretsIn(printed.join("\n"), secrets)).toEqual([]);
        expect(secretsIn(recorder.text(), secrets)).toEqual([]);
    }, 180_000);

    it("takes its login with it when it is destroyed, and no other", async () => {
        const other = { auth: Buffer.from("alice:her own").toString("base64") };
        const config = dockerConfig();
        config.auths["ghcr.io"] = other;
        writeFileSync(stack.path("docker/config.json"), JSON.stringify(config));
        await run("destroy");
        expect(dockerConfig()).toEqual({ auths: { "ghcr.io": other } });
        expect(await view(NEXT_TOKEN).tags()).toContain("stable");
        expect(existsSync(stack.path("cache/logins")) && readdirSync(stack.path("cache/logins"))).toEqual([]);
    }, 300_000);
});
