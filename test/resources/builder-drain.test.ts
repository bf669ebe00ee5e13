import { expect, it } from "vitest";
import { BuildkitError } from "../../drivers/buildkit";
import { drained } from "../../resources/buildx-builder/drain";

const late = new BuildkitError("node", "no answer within 8 s", true);
const refused = new BuildkitError("node", "UNAVAILABLE: connection refused");

/** Drains something that answers so, one answer after the other; tells how often it was asked. */
async function asked(answers: (number | Error)[], more: { runs?: boolean; withinMs?: number } = {}): Promise<number> {
    const left = [...answers];
    await drained({
        subject: "builder node room",
        purpose: "its container is made anew",
        async count() {
            const answer = left.shift();
            if (answer === undefined) throw new Error("asked once too often");
            if (answer instanceof Error) throw answer;
            return answer;
        },
        runs: async () => more.runs ?? true,
        withinMs: more.withinMs ?? 60_000,
        everyMs: 0,
    });
    return answers.length - left.length;
}

it.each<[string, (number | Error)[], boolean, number]>([
    ["nobody builds", [0, 9], true, 1],
    ["the last build has ended", [2, 1, 0, 9], true, 3],
    [
        "it takes long to answer, however often, and then nobody builds",
        [late, late, late, late, 1, late, 0, 9],
        true,
        7,
    ],
    ["it fails three times in a row", [refused, refused, refused, 9], true, 3],
    ["it fails, but answers in between", [refused, refused, 1, refused, refused, 1, 0, 9], true, 7],
    ["its container does not run", [refused, 9], false, 1],
])("a container is given up when %s", async (_case, answers, runs, times) => {
    expect(await asked(answers, { runs })).toBe(times);
});

it.each<[string, number | Error, string]>([
    ["still builds", 2, "2 builds to end before its container is made anew"],
    ["does not tell", late, "BuildKit to tell whether it builds before its container is made anew"],
])("a container that %s is not given up when the time is over", async (_case, answer, message) => {
    await expect(asked([answer], { withinMs: 0 })).rejects.toThrow(message);
});

it("a container is not given up where Docker can't be asked whether it runs", async () => {
    const drain = drained({
        ...{ subject: "node", purpose: "it is made anew", everyMs: 0 },
        count: () => Promise.reject(refused),
        runs: () => Promise.reject(new Error("no Docker there")),
    });
    await expect(drain).rejects.toThrow("no Docker there");
});
