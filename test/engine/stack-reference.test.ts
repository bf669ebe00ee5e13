/** Outputs of another stack whose state is kept in the same folder. */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Workspace } from "./support";

const work = new Workspace();
beforeAll(async () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "engine");
    work.write(
        `const a = thing("a"); module.exports = { open: a.out, hidden: { key: pulumi.secret("xyzzy"), n: 1 } };`,
    );
    expect((await work.run("up", { stack: "other" })).result).toBe("succeeded");
});
afterAll(() => {
    vi.unstubAllEnvs();
    work.remove();
});

const reads = (name: string) => `const other = new pulumi.StackReference("${name}");
    thing("b", { from: other.requireOutput("open"), key: other.requireOutput("hidden").key });
    module.exports = { open: other.requireOutput("open"), key: other.requireOutput("hidden").key };`;

it.each(["other", "organization/proj/other"])("%s: known in previews, secrets stay secret", async (name) => {
    work.write(reads(name));
    for (const command of ["preview", "up"] as const) {
        const { result, outputs, errors } = await work.run(command);
        expect(errors).toEqual([]);
        expect([result, outputs]).toEqual(["succeeded", { open: "out-1", key: "[secret]" }]);
    }
    expect(JSON.stringify(work.state())).not.toContain("xyzzy");
    expect(JSON.stringify(await work.revealed())).toContain("xyzzy");
    expect((await work.run("refresh")).changes).toMatchObject({ update: 0, delete: 0 });
});

it("a stack that was never deployed, an output it has not, and a name that is none are errors", async () => {
    for (const [program, message] of [
        [reads("moon"), /there is no stack "moon" yet.*deploy it first/],
        [`new pulumi.StackReference("other").requireOutput("shut").apply(console.log);`, /'shut' does not exist/],
        [reads("proj/other"), /"proj\/other" is no stack; expected STACK or organization\/PROJECT\/STACK/],
    ] as const) {
        work.write(program);
        const { result, errors } = await work.run("preview");
        expect(result).toBe("failed");
        expect(errors.map((error) => error.message).join()).toMatch(message);
    }
});
