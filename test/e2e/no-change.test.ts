import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeAdvisories, writeAppContext } from "../support/app";
import { freePort } from "../support/port";
import { MAIN_PROGRAM, type Run, TestStack } from "../support/stack";
import { buildCounts, RepositoryView, WHOLE_CHILD, WHOLE_INDEX } from "../support/views";

/** All that follows a build, each once. */
const AFTER_A_BUILD = [
    "app-image-linux-amd64",
    "app-image-linux-arm64",
    "app-index",
    "app-test-linux-amd64",
    "app-test-linux-arm64",
    "app-sbom-linux-amd64",
    "app-sbom-linux-arm64",
    "app-scan-linux-amd64",
    "app-scan-linux-arm64",
    ...["sbom", "scan", "provenance"].flatMap((kind) =>
        ["amd64", "arm64"].map((architecture) => `app-attest-${kind}-linux-${architecture}`),
    ),
    "app-signature",
    "app-verification",
    "app-promotion",
].map((name) => `update ${name}`);

describe("no change, no work", () => {
    const stack = new TestStack(MAIN_PROGRAM);
    let settings: { registry: { port: number }; image?: object };
    let first: Run;
    let last: Run;
    let repository: RepositoryView;

    const digestsOf = ({ outputs }: Run): string[] => outputs.signature.digests;
    const attached = (run: Run) => repository.allAttached(digestsOf(run));
    const counts = () => buildCounts(stack, first.outputs.nodes);

    /** What `up` does, which must be what a preview just before says it will. */
    async function upAsPreviewed(): Promise<Run> {
        const preview = await stack.run("preview", settings);
        expect(preview.errors).toEqual([]);
        const run = await stack.up(settings);
        expect([...preview.did].sort()).toEqual([...run.did].sort());
        expect(preview.changes).toEqual(run.changes);
        return run;
    }

    beforeAll(async () => {
        settings = { registry: { port: await freePort() } };
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        first = last = await upAsPreviewed();
        repository = new RepositoryView(first.outputs.ref.split("@")[0]);
    }, 180_000);
    afterAll(() => stack.dispose());

    it("signs and attests everything once at first", async () => {
        const [index, ...children] = digestsOf(first);
        expect(children).toHaveLength(2);
        expect(await attached(first)).toEqual({
            [index ?? ""]: WHOLE_INDEX,
            ...Object.fromEntries(children.map((digest) => [digest, WHOLE_CHILD])),
        });
    });

    it("does nothing the second time", async () => {
        const before = [await attached(first), await counts()];
        const second = await upAsPreviewed();
        expect(second.did).toEqual([]);
        expect(second.changes).toMatchObject({ create: 0, update: 0, delete: 0, replace: 0 });
        expect(second.outputs).toEqual(first.outputs);
        expect([await attached(first), await counts()]).toEqual(before);
    }, 300_000);

    it("only promotes when only the tags change", async () => {
        const before = [await attached(first), await counts()];
        settings.image = { tags: ["stable", "edge"] };
        last = await upAsPreviewed();
        expect(last.did).toEqual(["update app-promotion"]);
        expect(last.outputs).toEqual({ ...first.outputs, tags: ["stable", "edge"] });
        const index = await repository.manifestText(first.outputs.digest);
        expect(await Promise.all(["stable", "edge"].map((tag) => repository.manifestText(tag)))).toEqual([
            index,
            index,
        ]);
        expect([await attached(first), await counts()]).toEqual(before);
    }, 300_000);

    it("rebuilds both platforms for one changed line, and everything after follows exactly once", async () => {
        const before = await counts();
        const old = await attached(first);
        appendFileSync(stack.path("app/hello.txt"), "one more line\n");
        last = await upAsPreviewed();
        expect([...last.did].sort()).toEqual([...AFTER_A_BUILD].sort());
        const digests = digestsOf(last);
        expect(new Set([...digests, ...digestsOf(first)]).size).toBe(6);
        const [index = "", ...children] = digests;
        expect(await attached(last)).toEqual({
            [index]: WHOLE_INDEX,
            ...Object.fromEntries(children.map((digest) => [digest, WHOLE_CHILD])),
        });
        // The image and its test, once on each node.
        expect(await counts()).toEqual(
            Object.fromEntries(Object.entries(before).map(([node, count]) => [node, count + 2])),
        );
        expect(await attached(first)).toEqual(old);
        const released = await repository.manifestText(last.outputs.digest);
        expect(await repository.manifestText("stable")).toBe(released);
        expect(await repository.manifestText("edge")).toBe(released);
    }, 300_000);

    it("signs nothing a second time when the line goes and the same digests come back", async () => {
        const [before, later] = [await attached(first), await attached(last)];
        const hello = stack.path("app/hello.txt");
        writeFileSync(hello, readFileSync(hello, "utf8").replace("one more line\n", ""));
        const back = await upAsPreviewed();
        expect(digestsOf(back)).toEqual(digestsOf(first));
        expect(await repository.manifestText("stable")).toBe(await repository.manifestText(first.outputs.digest));
        expect(await attached(first)).toEqual(before);
        expect(await attached(last)).toEqual(later);
        expect((await upAsPreviewed()).did).toEqual([]);
    }, 300_000);
});
