/** Images that really are built, exported and pushed. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { CANARY, DOCKERFILE, PLATFORM, secret, urn, useWorkbench } from "../support/docker-build";
import { account, startRegistry } from "../support/registry";

const bench = useWorkbench();

async function manifest(reference: string): Promise<{ mediaType: string; config: Record<string, unknown> }> {
    const [repository, digest] = reference.split("@");
    const get = async (path: string) => {
        const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
        const response = await fetch(`http://${bench.registry()}/v2/${repository}/${path}`, { headers });
        if (!response.ok) throw new Error(`${path}: ${response.status}`);
        return response.json() as Promise<{ mediaType: string; config: { digest: string } }>;
    };
    const { mediaType, config } = await get(`manifests/${digest}`);
    return { mediaType, config: (await get(`blobs/${config.digest}`)) as unknown as Record<string, unknown> };
}

describe("a build", () => {
    it("pushes by digest, with secrets, build arguments, labels, hosts and caches; then again after a change", async () => {
        writeFileSync(join(bench.work, "app/hello.txt"), "hello\n");
        const plugin = await bench.provider();
        const cache = `${bench.registry()}/full:cache`;
        const news = bench.inputs({
            target: "final",
            buildArgs: { GREETING: "hi" },
            labels: { "org.example.title": "full" },
            addHosts: ["example.test:10.1.2.3"],
            network: "none",
            noCache: true,
            exports: [bench.byDigest("full")],
            cacheFrom: [{ registry: { ref: cache } }],
            cacheTo: [{ registry: { ref: cache, mode: "max", imageManifest: true, ociMediaTypes: true } }],
        });
        const made = await bench.create(plugin, "full", news);
        const digest = String(made.outputs.digest);
        expect(made.id).toMatch(/^sha256:[0-9a-f]{64}$/);
        expect(made.outputs).toMatchObject({ digest: made.id, ref: "", secrets: secret({ token: CANARY }) });
        const image = await manifest(`full@${digest}`);
        expect(image.mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
        expect(image.config).toMatchObject({
            architecture: PLATFORM.split("/")[1],
            config: { Labels: { "org.example.title": "full" } },
        });
        const { tags } = (await (await fetch(`http://${bench.registry()}/v2/full/tags/list`)).json()) as {
            tags: string[];
        };
        expect(tags).toEqual(["cache"]);
        expect(readFileSync(bench.argumentsFile, "utf8")).toMatch(/^"id=token",env=BUILD_SECRET_/m);
        expect(bench.logged).toContainEqual({
            severity: "info",
            message: expect.stringContaining('"test" instance'),
            ephemeral: true,
        });

        const same = await plugin.diff(urn("full"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(same).toMatchObject({ changes: "none", diffs: [] });
        writeFileSync(join(bench.work, "app/hello.txt"), "hello again\n");
        const changed = await plugin.diff(urn("full"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(changed).toMatchObject({ changes: "some", diffs: ["contextHash"] });
        const preview = await plugin.update(urn("full"), made.id, made.inputs, made.outputs, made.inputs, 0, true, []);
        expect(preview.outputs.digest).toBe("");
        const updated = await plugin.update(urn("full"), made.id, made.inputs, made.outputs, made.inputs, 0, false, []);
        expect(updated.outputs.digest).not.toBe(digest);
        expect(updated.outputs.contextHash).toBe(preview.outputs.contextHash);
    });

    it("pushes tags, and refers to the first with its digest", async () => {
        const tags = ["one", "two"].map((tag) => `${bench.registry()}/tagged:${tag}`);
        const made = await bench.create(await bench.provider(), "tagged", bench.inputs({ push: true, tags }));
        expect(made.outputs.ref).toBe(`${tags[0]}@${made.outputs.digest}`);
        const response = await fetch(`http://${bench.registry()}/v2/tagged/tags/list`);
        expect(await response.json()).toMatchObject({ tags: ["one", "two"] });
    });

    it("writes files from an inline Dockerfile, and notices when they are gone", async () => {
        const plugin = await bench.provider();
        const news = bench.inputs({
            dockerfile: { inline: DOCKERFILE },
            target: "files",
            buildArgs: { GREETING: "a,b c" },
            exports: [{ local: { dest: "../out" } }],
            cacheTo: [{ local: { dest: "../cache" } }],
        });
        const made = await bench.create(plugin, "files", news);
        expect(made).toMatchObject({ id: "files", outputs: { digest: "", ref: "" } });
        expect(readFileSync(join(bench.work, "out/greeting.txt"), "utf8")).toBe("a,b c\n");
        expect(existsSync(join(bench.work, "cache/index.json"))).toBe(true);
        rmSync(join(bench.work, "out"), { recursive: true });
        const { diffs } = await plugin.diff(urn("files"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(diffs).toEqual(["exports[0]"]);
    });

    it("gives a registry's password to buildx through a private configuration, and keeps the user's builders", async () => {
        const guarded = await startRegistry({ htpasswd: account.htpasswd });
        onTestFinished(() => guarded.stop());
        const tags = [`${guarded.registry}/private:v1`];
        const plugin = await bench.provider();
        await expect(bench.create(plugin, "anonymous", bench.inputs({ push: true, tags }))).rejects.toThrow(
            /failed to (push|authorize)|401/,
        );
        writeFileSync(join(bench.work, "docker/config.json"), JSON.stringify({ credsStore: "no-such-helper" }));
        const registries = [{ address: guarded.registry, username: account.username, password: account.password }];
        const made = await bench.create(plugin, "private", bench.inputs({ push: true, tags, registries }));
        rmSync(join(bench.work, "docker/config.json"));
        expect(made.outputs.ref).toContain(`${tags[0]}@sha256:`);
        expect(made.outputs.registries).toEqual([
            { address: guarded.registry, username: account.username, password: secret(account.password) },
        ]);
        expect(bench.traces()).not.toContain(account.password);
    });

    it("knows what Docker's configuration opened when the provider was configured, and nothing newer", async () => {
        const guarded = await startRegistry({ htpasswd: account.htpasswd });
        onTestFinished(() => guarded.stop());
        const file = join(bench.work, "docker/config.json");
        const auth = Buffer.from(`${account.username}:${account.password}`).toString("base64");
        const news = bench.inputs({ push: true, tags: [`${guarded.registry}/read-once:v1`] });
        const [before, after] = [await bench.provider(), await bench.provider()];
        await before.configure({});
        writeFileSync(file, JSON.stringify({ auths: { [`https://${guarded.registry}/v1/`]: { auth } } }));
        await after.configure({ host: "" });
        rmSync(file);
        await expect(bench.create(before, "early", news)).rejects.toThrow(/failed to (push|authorize)|401/);
        const made = await bench.create(after, "late", news);
        expect(made.outputs.ref).toContain("/read-once:v1@sha256:");
        expect(bench.traces()).not.toContain(auth);
    });
});
