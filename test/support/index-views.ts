/** What the tools of others say an index has: skopeo, buildx and docker's own manifest command. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { cacheRoot } from "../../drivers/tools";
import { imagetoolsRaw, type StoredDescriptor, skopeoRaw } from "./views";

/** Entries as a tool tells them, in the index's order. */
export type Entries = Pick<StoredDescriptor, "digest" | "size" | "mediaType" | "platform">[];

const entriesIn = (text: string): Entries =>
    JSON.parse(text).manifests.map(({ digest, size, mediaType, platform }: StoredDescriptor) => ({
        ...{ digest, size, mediaType },
        platform,
    }));

const versionOf = (docker: string) =>
    Number(/version (\d+)\./.exec(execFileSync(docker, ["--version"], { encoding: "utf8" }))?.[1]);

/** From PATH, or the set-up's. Before version 23 its manifest command knows no OCI images (Debian 12 has 20.10). */
const docker = [...(process.env.PATH ?? "").split(delimiter), join(cacheRoot(), "test-tools", "bin")]
    .map((folder) => join(folder, "docker"))
    .find((path) => existsSync(path) && versionOf(path) >= 23);

function dockerEntries(reference: string): Entries {
    if (!docker) throw new Error('there is no docker from version 23 on: run "node tools/setup.mjs --tests"');
    const config = mkdtempSync(join(tmpdir(), "buildfleet-docker-"));
    try {
        const args = ["--config", config, "manifest", "inspect", "--insecure", reference];
        return entriesIn(execFileSync(docker, args, { encoding: "utf8", stdio: "pipe" }));
    } finally {
        rmSync(config, { recursive: true, force: true });
    }
}

/** `127.0.0.1:port/path` with a tag or a digest; by tool. */
export async function entriesByTool(reference: string): Promise<Record<string, Entries>> {
    return {
        skopeo: entriesIn(await skopeoRaw(reference)),
        imagetools: entriesIn(await imagetoolsRaw(reference)),
        docker: dockerEntries(reference),
    };
}
