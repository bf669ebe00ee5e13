import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../../drivers/process";
import { listenToProgress } from "../../drivers/progress";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { closeLimit } from "../../resources/buildx-builder/limit";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { ActiveBuilds } from "../support/active-builds";
import { type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { Gate } from "../support/gate";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";

let work: string;
let before: string | undefined;
let daemon: RunningBuildkitd;
let client: NonNullable<Inputs["client"]>;
let gate: Gate;
let active: ActiveBuilds;
let said: string[];
let quiet: () => void;

beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "buildfleet-admission-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = join(work, "buildx");
    const authority = await createAuthority({ name: "builders", days: 2 });
    const [server, own] = await Promise.all([
        issueCertificate({ authority, commonName: "one", usage: "server", dnsNames: ["one"], days: 2 }),
        issueCertificate({ authority, commonName: "client", usage: "client", days: 2 }),
    ]);
    client = { ca: authority.certificate, certificate: own.certificate, privateKey: own.privateKey };
    daemon = await startBuildkitd({ ca: authority.certificate, ...server });
});
afterAll(async () => {
    await daemon?.stop();
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(work, { recursive: true, force: true });
});
beforeEach(async () => {
    gate = await Gate.start();
    gate.writeContext(join(work, "context"));
    active = new ActiveBuilds(daemon.endpoint, { ...client, serverName: "one" });
    said = [];
    quiet = listenToProgress((line) => said.push(line));
});
afterEach(async () => {
    gate.close();
    active.close();
    quiet();
});

const inputs = (name: string, maxBuilds: number): Inputs => ({
    name,
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes: [{ name: "one", endpoint: daemon.endpoint, platforms: [native], serverName: "one", maxBuilds }],
    client,
});
let count = 0;
function build(builder: string, signal?: AbortSignal) {
    count += 1;
    return run(
        "docker-buildx",
        [
            ...["build", "--builder", builder, "--progress", "plain", "--provenance=false"],
            ...["--build-arg", `NAME=build-${count}`, "--output", "type=cacheonly", join(work, "context")],
        ],
        { timeoutMs: 50_000, ...(signal ? { signal } : {}) },
    );
}

describe("a node with a limit", () => {
    it("runs that many builds at a time, and the others after them", async () => {
        const { outs } = await operations.create(inputs("left", 2));
        expect(outs).toMatchObject({ endpoint: daemon.endpoint, nodeName: "one" });
        const builds = [1, 2, 3, 4, 5].map(() => build("left"));
        await gate.holds(2);
        expect(active.now).toBe(2);
        gate.stayOpen();
        await Promise.all(builds);
        expect(active.most).toBe(2);
        expect(gate.knocked).toHaveLength(5);
        console.log(said);
        await closeLimit("left");
    });
});
