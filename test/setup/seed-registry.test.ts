import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { startRegistry } from "../support/registry";

const SEED = join(__dirname, "../../tools/seed-registry.mjs");
const storage = mkdtempSync(join(tmpdir(), "buildfleet-storage-"));

afterEach(() => rmSync(storage, { recursive: true, force: true }));

function seed(env: Record<string, string> = {}) {
    const options = { encoding: "utf8" as const, env: { ...process.env, BUILDFLEET_BASE: "debian", ...env } };
    return JSON.parse(execFileSync(process.execPath, [SEED, "--storage", storage], options));
}

test("the base images come in once, for both platforms, and stay what they are", async () => {
    const { base, buildBase } = seed();
    const before = readdirSync(storage, { recursive: true }).length;
    // Without any program on PATH it could not push: so it did not.
    expect(seed({ PATH: "/nowhere" })).toEqual({ source: "debian", base, buildBase });
    expect(readdirSync(storage, { recursive: true })).toHaveLength(before);

    const { registry, stop } = await startRegistry({ storage });
    try {
        const client = new RegistryClient({ registry, plainHttp: true });
        for (const reference of [base, buildBase]) {
            const [name = "", digest = ""] = reference.split("@");
            const [repository = "", tag = ""] = name.split(":");
            const index = await client.getManifest(repository, tag);
            expect(index.digest).toBe(digest);
            const platforms = JSON.parse(index.bytes.toString()).manifests.map(
                ({ platform }: { platform: { os: string; architecture: string } }) =>
                    `${platform.os}/${platform.architecture}`,
            );
            expect(platforms).toEqual(["linux/amd64", "linux/arm64"]);
        }
    } finally {
        await stop();
    }
});
