import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attachedStatements } from "../../drivers/bundles";
import { withRegistry } from "../../drivers/registry-access";
import { writeAdvisories, writeAppContext } from "../support/app";
import { freePort } from "../support/port";
import { type Run, TestStack } from "../support/stack";
import { cosignVerify, cosignVerifyAttestation, predicates, RepositoryView } from "../support/views";

const ROUNDS = 10;
/** In the others both build the same bytes, and write beside the same digests. */
const APART = [3, 8];
/** The scan costs more than all the rest; two rounds of them show that its statements are not lost either. */
const SCANNED = [8, 9];
/** From here on each signs with a key of its own; before, both with the team's. */
const OWN_KEYS_FROM = 5;

const SHARED = `
const { writeFileSync } = require("node:fs");
const registry = new buildfleet.LocalRegistry("registry", { port: settings.port });
const fleet = new buildfleet.LocalFleet("builders", { registries: registry.nodeSettings });
fleet.client.apply((client) => client && writeFileSync("client.json", JSON.stringify(client), { mode: 0o600 }));
for (const name of ["team", "left", "right"]) {
    const { privateKey, password, publicKey } = new buildfleet.SigningKey(name);
    pulumi.all({ privateKey, password, publicKey })
        .apply((pair) => pair.privateKey && writeFileSync(name + ".json", JSON.stringify(pair), { mode: 0o600 }));
}
module.exports = { nodes: fleet.nodes, address: registry.address };
`;

/** Nodes, registry and keys are the shared stack's. The tests of the platforms are left out: they sign nothing. */
const RELEASE = `
const read = (name) => JSON.parse(require("node:fs").readFileSync(settings.shared + "/" + name + ".json", "utf8"));
const image = new buildfleet.MultiPlatformImage("app", {
    fleet: { nodes: settings.nodes, client: pulumi.secret(read("client")) },
    repository: { name: settings.repository, connection: { plainHttp: true } },
    context: settings.context,
    platforms: ["linux/amd64", "linux/arm64"],
    tags: [pulumi.getStack()],
    emulation: "allow",
    test: false,
    scan: settings.scan && { advisories: settings.shared + "/advisories" },
    sign: { key: read(settings.key) },
});
module.exports = { digest: image.digest, platforms: image.platforms, signature: image.signature };
`;

describe("two stacks that release to one repository at the same time", () => {
    const shared = new TestStack(SHARED, { name: "shared" });
    const sides = ["left", "right"] as const;
    const stacks = { left: new TestStack(RELEASE, { name: "left" }), right: new TestStack(RELEASE, { name: "right" }) };
    let repository: string;
    let common: { shared: string; nodes: object[]; repository: string };
    const rounds: { left: Run; right: Run }[] = [];

    const outputsOf = (round: number, side: "left" | "right") => {
        const run = rounds[round]?.[side];
        if (!run) throw new Error(`${side} was not released in round ${round}`);
        return run.outputs;
    };
    const publicKeyOf = (name: string): string =>
        JSON.parse(readFileSync(shared.path(`${name}.json`), "utf8")).publicKey;
    const keyOf = (side: string, round: number) => (round < OWN_KEYS_FROM ? "team" : side);
    const contextOf = (side: string, round: number) => (APART.includes(round) && side === "right" ? "apart" : "app");

    beforeAll(async () => {
        mkdirSync(shared.path("advisories"));
        for (const context of ["app", "apart"]) writeAppContext(shared.path(context));
        writeAdvisories(shared.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        const { outputs } = await shared.up({ port: await freePort() });
        repository = `${outputs.address}/team/app`;
        common = { shared: shared.folder, nodes: outputs.nodes, repository };
    }, 300_000);
    afterAll(async () => {
        await Promise.all(sides.map((side) => stacks[side].dispose()));
        await shared.dispose();
    });

    it(`succeed ${ROUNDS} times`, async () => {
        for (let round = 0; round < ROUNDS; round++) {
            writeFileSync(shared.path("app/hello.txt"), `round ${round}\n`);
            writeFileSync(shared.path("apart/hello.txt"), `round ${round}, apart\n`);
            const release = (side: "left" | "right") =>
                stacks[side].up({
                    ...common,
                    context: shared.path(contextOf(side, round)),
                    key: keyOf(side, round),
                    scan: SCANNED.includes(round),
                });
            const [left, right] = await Promise.all(sides.map(release));
            if (!left || !right) throw new Error("unreachable");
            rounds.push({ left, right });
            const same = left.outputs.digest === right.outputs.digest;
            expect(same, `round ${round}`).toBe(!APART.includes(round));
        }
        expect(new Set(rounds.map(({ left }) => left.outputs.digest)).size).toBe(ROUNDS);
    }, 600_000);

    /** What must be beside each digest after a round: how often each type, by which key. */
    function expected(round: number) {
        const counts = new Map<string, Map<string, number>>();
        const add = (digest: string, what: string, once: boolean) => {
            const of = counts.get(digest) ?? new Map<string, number>();
            of.set(what, once ? 1 : (of.get(what) ?? 0) + 1);
            counts.set(digest, of);
        };
        for (const side of sides) {
            const key = keyOf(side, round);
            const [index, ...children]: string[] = outputsOf(round, side).signature.digests;
            for (const digest of [index ?? "", ...children]) add(digest, `${predicates.signature} by ${key}`, true);
            for (const child of children) {
                // Both say the same of the same bytes; who built it is each one's own statement.
                add(child, `${predicates.sbom} by ${key}`, true);
                if (SCANNED.includes(round)) add(child, `${predicates.scan} by ${key}`, true);
                add(child, `${predicates.provenance} by ${key}`, false);
            }
        }
        return counts;
    }

    it("lose no signature and no attestation, and write none twice", async () => {
        const view = new RepositoryView(repository);
        await withRegistry(repository, { plainHttp: true }, async (access) => {
            for (let round = 0; round < ROUNDS; round++)
                for (const [digest, counts] of expected(round)) {
                    const total = [...counts.values()].reduce((sum, count) => sum + count);
                    expect(await view.attached(digest), `round ${round}, ${digest}`).toHaveLength(total);
                    for (const [what, count] of counts) {
                        const [type = "", key = ""] = what.split(" by ");
                        const signed = (await attachedStatements(access, digest, type)).filter(
                            ({ subjects, signedBy }) => subjects.includes(digest) && signedBy(publicKeyOf(key)),
                        );
                        expect(signed, `round ${round}, ${digest}: ${what}`).toHaveLength(count);
                    }
                }
        });
    }, 300_000);

    it("verify with cosign, each with its own key", async () => {
        for (const round of [0, ROUNDS - 2, ROUNDS - 1])
            for (const side of sides) {
                const key = publicKeyOf(keyOf(side, round));
                const [index, ...children]: string[] = outputsOf(round, side).signature.digests;
                const checks = [index, ...children].map((digest) => cosignVerify(`${repository}@${digest}`, key));
                for (const child of children)
                    for (const type of ["spdxjson", "slsaprovenance1", ...(SCANNED.includes(round) ? ["vuln"] : [])])
                        checks.push(cosignVerifyAttestation(`${repository}@${child}`, key, type));
                const results = await Promise.all(checks);
                expect(results.map(({ exitCode, stderr }) => (exitCode === 0 ? "" : stderr)).join("")).toBe("");
            }
    }, 300_000);

    it("leave each tag where its own stack put it", async () => {
        const view = new RepositoryView(repository);
        for (const side of sides)
            expect(await view.manifestText(side)).toBe(await view.manifestText(outputsOf(ROUNDS - 1, side).digest));
    });
});
