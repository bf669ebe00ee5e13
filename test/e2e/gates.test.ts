import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { delimiter } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateKeyPair } from "../../drivers/cosign";
import { writeAppContext } from "../support/app";
import { isSigned, Machines } from "../support/machines";
import { freePort } from "../support/port";
import type { Run, TestStack } from "../support/stack";

const TAGS = ["1.0.0", "1.0", "1", "latest", "stable"];
const vulnerable = [
    { name: "base-files", version: "12.4" },
    { name: "openssl", version: "3.0.1", only: "arm64" as const },
    { name: "openssl", version: "3.0.2", only: "amd64" as const },
];

/** Every gate closed in turn on one image that is released: its tags stay, and the repaired run goes on where it was refused. */
describe("a closed gate", () => {
    const machines = new Machines();
    let stack: TestStack;
    /** The digest that all tags point at. */
    let released: string;
    let content = 0;

    const expectTagsToStay = async () =>
        expect(await machines.tagged(...TAGS)).toEqual(Object.fromEntries(TAGS.map((tag) => [tag, released])));

    /** An `up` of changed content that must be refused; returns the errors. */
    async function refused(settings: object, packages?: Parameters<typeof writeAppContext>[1]): Promise<string> {
        writeAppContext(stack.path("app"), packages);
        writeFileSync(stack.path("app/hello.txt"), `content ${++content}\n`);
        const run = await stack.run("up", merged(settings));
        expect(run.exitCode).toBe(1);
        expect(run.did.some((step) => step.includes("-promotion"))).toBe(false);
        await expectTagsToStay();
        return run.errors.map(({ message }) => message).join("\n");
    }

    /** An `up` that must succeed from the stage that was refused on: nothing is built or indexed again. */
    async function repaired(settings: object): Promise<Run> {
        const run = await stack.up(merged(settings));
        expect(run.did.filter((step) => /-image-|-index|-builder-/.test(step))).toEqual([]);
        expect(run.did).toContain("update app-promotion");
        expect(run.outputs.digest).not.toBe(released);
        released = run.outputs.digest;
        await expectTagsToStay();
        expect(await isSigned(run.outputs.ref, machines.publicKey)).toBe(true);
        return run;
    }

    const merged = ({ image, ...rest }: { image?: object }) => ({ ...rest, image: { version: "1.0.0", ...image } });

    beforeAll(async () => {
        await machines.start();
        stack = machines.imageStack();
        released = (await stack.up(merged({}))).outputs.digest;
    }, 300_000);
    afterAll(async () => {
        await stack?.dispose();
        await machines.dispose();
    });

    it("scan: refuses for one package of one platform, with the other clean", async () => {
        const error = await refused({}, vulnerable);
        expect(error).toContain("linux/arm64: BF-2026-0001 (high) in openssl 3.0.1: fixed in 3.0.2");
        expect(error).not.toMatch(/linux\/amd64: /);
        const ignore = [{ id: "BF-2026-0001", package: "openssl", reason: "not reachable", until: "2099-12-31" }];
        const run = await repaired({ image: { scan: { advisories: "advisories", ignore } } });
        expect(run.did).toContain("update app-scan-linux-arm64");
    }, 180_000);

    it("test: refuses when the command fails, and names platform and command", async () => {
        const error = await refused({ image: { test: { command: ["/app", "--fail"] } } });
        expect(error).toContain("linux/arm64");
        expect(error).toContain("linux/amd64");
        expect(error).toContain("failing as asked");
        expect(error).toContain(
            "next: the test of linux/arm64 failed: no tag was moved; mend the image or the test's command",
        );
        const run = await repaired({ image: { test: { command: ["/app", "--version"] } } });
        expect(run.did.filter((step) => step.includes("-sbom-linux") || step.includes("-scan-linux"))).toEqual([]);
    }, 180_000);

    it("scan: refuses when the scanner crashes", async () => {
        const bin = stack.path("bin");
        mkdirSync(bin);
        writeFileSync(`${bin}/grype`, "#!/bin/sh\necho 'panic: index out of range' >&2\nkill -SEGV $$\n");
        chmodSync(`${bin}/grype`, 0o755);
        stack.env.PATH = `${bin}${delimiter}${process.env.PATH}`;
        const error = await refused({});
        expect(error).toMatch(/grype .*was ended by SIGSEGV|grype .*exited with/);
        expect(error).toContain("linux/arm64");
        expect(error).toContain("linux/amd64");
        expect(error).toContain("panic: index out of range");
        rmSync(bin, { recursive: true });
        await repaired({});
    }, 180_000);

    it("scan: refuses without a database", async () => {
        stack.env.GRYPE_DB_CACHE_DIR = stack.path("no-database");
        stack.env.GRYPE_DB_UPDATE_URL = `http://127.0.0.1:${await freePort()}/databases`;
        const error = await refused({ image: { scan: {} } });
        expect(error).toContain("linux/arm64: not scanned");
        expect(error).toContain("linux/amd64: not scanned");
        expect(error).toContain("grype: it has no vulnerability database");
        expect(error).toMatch(/next: let this machine reach .* or scan against your own advisories/);
        await repaired({});
    }, 180_000);

    it("settings: refuse an ignore entry whose day has passed, before anything is done", async () => {
        const ignore = [{ id: "BF-2026-0001", reason: "not reachable", until: "2026-01-31" }];
        writeFileSync(stack.path("app/hello.txt"), `content ${++content}\n`);
        const image = { scan: { advisories: "advisories", ignore } };
        const run = await stack.run("up", merged({ image }));
        expect(run.exitCode).toBe(1);
        expect(run.did).toEqual([]);
        expect(run.stderr).toContain(
            "scan.ignore[0].until: 2026-01-31 has passed; renew the decision or remove the entry",
        );
        await expectTagsToStay();
    }, 180_000);

    it("verification: refuses what another key signed, and what the right key signed needs no second signature", async () => {
        const { publicKey } = await generateKeyPair("other");
        const error = await refused({ verifier: { kind: "key", publicKey } });
        expect(error).toContain("does not verify");
        expect(error).toContain("no tag was moved");
        expect(error).toContain("next: check that the public key is the one of the signing key");
        const run = await repaired({});
        expect(run.did).toEqual(["update app-verification", "update app-promotion"]);
    }, 180_000);

    it("signature: refuses halves of two keys at once, and the repaired run signs nothing twice", async () => {
        const { publicKey } = await generateKeyPair("other");
        const error = await refused({ key: { publicKey } });
        expect(error).toContain("does not verify with the public key that was given; no tag was moved");
        expect(error).toContain("next: give the public key that belongs to the private one");
        await repaired({});
    }, 180_000);
});
