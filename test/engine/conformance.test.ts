/** The embedded engine against recordings of the real one: the calls it makes, the state it leaves, the counts and the outcome. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
    type Checkpoint,
    type EngineOptions,
    type EngineResult,
    exportState,
    runEngine,
} from "../../dist/engine/index";
import { Crypter, Keyring } from "../../dist/engine/secrets";
import { needs, StateStore } from "../../dist/engine/state";
import {
    type Call,
    RECORDINGS,
    readLines,
    recordedCalls,
    recordedDynamic,
    recordedRun,
    replayed,
    sorted,
} from "./recordings";

const SALT = "v1:bmACv1eQLxw=:v1:lYb4g1fFYFqhDk+G:etJfrq617XvvswQGlmYsLALu5AB1tw==";
const NODE_MODULES = join(__dirname, "../../node_modules");

let work: string;
let passphrase: string | undefined;

beforeAll(async () => {
    passphrase = process.env.PULUMI_CONFIG_PASSPHRASE;
    process.env.PULUMI_CONFIG_PASSPHRASE = "x";
    work = mkdtempSync(join(tmpdir(), "engine-conformance-"));
    for (const part of ["stack", "app"])
        cpSync(join(RECORDINGS, "program", part), join(work, part), { recursive: true });
    const modules = join(work, "stack/node_modules");
    mkdirSync(join(modules, "@pulumi"), { recursive: true });
    cpSync(join(RECORDINGS, "program/lib"), join(modules, "recorded-lib"), { recursive: true });
    for (const name of ["pulumi", "docker-build"]) {
        symlinkSync(join(NODE_MODULES, "@pulumi", name), join(modules, "@pulumi", name));
    }
    const crypter = await Crypter.open("x", SALT);
    const secure = crypter.encrypt("s3cret-canary");
    const settings = `encryptionsalt: ${SALT}\nconfig:\n  recorded:password:\n    secure: ${secure}\n`;
    writeFileSync(join(work, "stack/Pulumi.rec.yaml"), settings);
}, 300_000);

afterAll(() => {
    rmSync(work, { recursive: true, force: true });
    if (passphrase === undefined) delete process.env.PULUMI_CONFIG_PASSPHRASE;
    else process.env.PULUMI_CONFIG_PASSPHRASE = passphrase;
});

const recordedState = (step: string) => join(RECORDINGS, `${step}.state.json`);

/** What matters of a state: no times, no positions in sources, no made-up provider ids; secrets in the clear. */
function comparable(checkpoint: Checkpoint): Record<string, unknown> {
    const resources = checkpoint.deployment.resources ?? [];
    const entries = resources.map((resource) => {
        const { created, modified, sourcePosition, stackTrace, ...rest } = resource as typeof resource &
            Record<string, unknown>;
        expect(Date.parse(String(created)), resource.urn).toBeLessThanOrEqual(Date.parse(String(modified)));
        const isProvider = resource.type.startsWith("pulumi:providers:");
        // The plugin's own check adds settings; the stand-in of this test has none.
        const own = (properties: object = {}) =>
            Object.fromEntries(
                Object.entries(properties).filter(([key, value]) => !key.startsWith("__") && value !== ""),
            );
        // Lists of dependencies are sets.
        const dependencies = Object.entries(resource.propertyDependencies ?? {})
            .filter(([, urns]) => urns.length > 0)
            .map(([key, urns]) => [key, [...urns].sort()]);
        return [
            resource.urn,
            {
                ...rest,
                ...(isProvider && { id: "ID", inputs: own(resource.inputs), outputs: own(resource.outputs) }),
                ...(resource.dependencies && { dependencies: [...resource.dependencies].sort() }),
                ...(resource.provider && { provider: resource.provider.replace(/::[^:]+$/, "::ID") }),
                // The real engine drops empty entries when it reads a state and writes it back.
                propertyDependencies: Object.fromEntries(dependencies),
            },
        ];
    });
    expect(new Set(entries.map(([urn]) => urn)).size).toBe(entries.length);
    return sorted(Object.fromEntries(entries)) as Record<string, unknown>;
}

async function decrypted(file: string): Promise<Checkpoint> {
    const store = await StateStore.load(file, new Keyring(() => "x"));
    return store.export(true);
}

/** Everything a resource needs comes before it: without that the real engine refuses a state. */
function expectDependenciesFirst(checkpoint: Checkpoint): void {
    const seen = new Set<string>();
    for (const resource of checkpoint.deployment.resources ?? []) {
        for (const urn of needs(resource)) expect(seen, `${resource.urn} needs ${urn}`).toContain(urn);
        seen.add(resource.urn);
    }
}

interface Outcome {
    result: EngineResult;
    calls: Call[];
    state: Checkpoint;
    lines: string[];
}

async function play(step: string, stateDir: string): Promise<Outcome> {
    const run = recordedRun(step);
    const command = step.includes("refresh")
        ? "refresh"
        : step.includes("destroy")
          ? "destroy"
          : run?.preview
            ? "preview"
            : "up";
    const { "recorded:password": _secret, ...config } = run?.config ?? {};
    const [calls, lines]: [Call[], string[]] = [[], []];
    const stack = { cwd: join(work, "stack"), stack: "rec", stateDir };
    const options: EngineOptions = {
        ...stack,
        command,
        config,
        providers: { "pulumi-nodejs": recordedDynamic(calls), "docker-build": replayed(step, calls) },
        onProgress: (line) => lines.push(line),
    };
    const result = await runEngine(options);
    return { result, calls, lines, state: await exportState({ ...stack, showSecrets: true }) };
}

function startFrom(step: string | undefined): string {
    const stateDir = mkdtempSync(join(work, "state-"));
    mkdirSync(join(stateDir, "stacks/recorded"), { recursive: true });
    if (step) cpSync(recordedState(step), join(stateDir, "stacks/recorded/rec.json"));
    return stateDir;
}

const key = (call: Call) => JSON.stringify([call.method, sorted(call.request)]);
const keys = (calls: Call[]) => calls.map(key).sort();

/** The methods called on each resource, in order. */
function sequences(calls: Call[]): Record<string, string[]> {
    const result: Record<string, string[]> = {};
    for (const { urn, method } of calls) result[urn] = [...(result[urn] ?? []), method];
    return result;
}

const STEPS: [step: string, before: string | undefined, counts: Partial<EngineResult["changes"]>][] = [
    ["01-up", undefined, { create: 13 }],
    ["02-up-unchanged", "01-up", { same: 13 }],
    ["03-preview-update", "02-up-unchanged", { update: 3, replace: 1, same: 9 }],
    ["03-up-update", "02-up-unchanged", { update: 3, replace: 1, same: 9 }],
    ["04-preview-file-change", "03-up-update", { update: 2, same: 11 }],
    ["04-up-file-change", "03-up-update", { update: 2, same: 11 }],
    ["05-preview-replace", "04-up-file-change", { replace: 2, same: 11 }],
    ["05-up-replace", "04-up-file-change", { replace: 2, same: 11 }],
    ["06-preview-remove-alias", "05-up-replace", { delete: 1, same: 12 }],
    ["06-up-remove-alias", "05-up-replace", { delete: 1, same: 12 }],
    ["12-up-again", "11-up-context-missing", { same: 12 }],
    ["13-refresh", "12-up-again", { same: 12 }],
    ["14-destroy", "13-refresh", { delete: 12 }],
];

describe("what the real engine did, from the state it left", () => {
    it.each(STEPS)("%s", async (step, before, counts) => {
        const { result, calls, state } = await play(step, startFrom(before));
        expect(result.errors).toEqual([]);
        expect(result.result).toBe("succeeded");
        expect(result.changes).toEqual({ create: 0, update: 0, delete: 0, replace: 0, same: 0, ...counts });
        const recorded = recordedCalls(step);
        expect(keys(calls)).toEqual(keys(recorded));
        expect(sequences(calls)).toEqual(sequences(recorded));
        expect(comparable(state)).toEqual(comparable(await decrypted(recordedState(step))));
        expectDependenciesFirst(state);
    });
});

describe("failures, where the real engine stops and ours lets the rest finish", () => {
    it.each([
        ["07-up-create-fails", "06-up-remove-alias", "broken", "creation refused on purpose"],
        [
            "08-up-check-fails",
            "07-up-create-fails",
            "invalid",
            "property size value {-1} has a problem: must not be negative, got -1",
        ],
        [
            "09-up-build-fails",
            "08-up-check-fails",
            "fails",
            'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7',
        ],
        ["10-up-builder-missing", "09-up-build-fails", "nobuilder", 'no builder "no-such-builder" found'],
        ["11-up-context-missing", "10-up-builder-missing", "nocontext", "property dockerfile.location has a problem"],
    ])("%s", async (step, before, name, message) => {
        // The real engine ended the program before it got to the images in some of these: they answer as in an unchanged run.
        const unchanged = readLines("12-up-again").length > 0 ? "12-up-again" : step;
        const [calls, lines]: [Call[], string[]] = [[], []];
        const stack = { cwd: join(work, "stack"), stack: "rec", stateDir: startFrom(before) };
        const { "recorded:password": _secret, ...config } = recordedRun(step)?.config ?? {};
        const images = await replayed(unchanged, [])({} as never, "");
        const failing = await replayed(step, [])({} as never, "");
        const result = await runEngine({
            ...stack,
            command: "up",
            config,
            providers: {
                "pulumi-nodejs": recordedDynamic(calls),
                "docker-build": async () => ({
                    ...images,
                    ...failing,
                    check: (urn, ...rest) => (urn.endsWith(`::${name}`) ? failing : images).check(urn, ...rest),
                    diff: (...args) => images.diff(...args),
                }),
            },
            onProgress: (line) => lines.push(line),
        });
        expect(result.result).toBe("failed");
        expect(result.changes).toEqual({ create: 0, update: 0, delete: 0, replace: 0, same: 12 });
        expect(result.errors).toHaveLength(1);
        expect(result.errors[0]?.urn).toMatch(new RegExp(`::${name}$`));
        expect(result.errors[0]?.message).toContain(message);
        // All that the real engine asked the dynamic provider, ours asked too; beyond that it only looked.
        const ours = keys(calls);
        const recorded = recordedCalls(step).filter(({ urn }) => urn.includes("pulumi-nodejs"));
        expect(ours).toEqual(expect.arrayContaining(keys(recorded)));
        const changing = (list: Call[]) => list.filter(({ method }) => !["Check", "Diff"].includes(method)).map(key);
        expect(changing(calls)).toEqual(changing(recorded));
        const state = comparable(await exportState({ ...stack, showSecrets: true }));
        const expected = comparable(await decrypted(recordedState(step)));
        // Ours got to register the stack's outputs.
        const root = "urn:pulumi:rec::recorded::pulumi:pulumi:Stack::recorded-rec";
        expect({ ...state, [root]: 0 }).toEqual({ ...expected, [root]: 0 });
    });
});

it("goes the whole way on its own states, and deletes in the recorded order", async () => {
    const stateDir = startFrom(undefined);
    for (const step of ["01-up", "03-up-update", "04-up-file-change", "05-up-replace", "06-up-remove-alias"]) {
        const { result, state } = await play(step, stateDir);
        expect(result.errors, step).toEqual([]);
        expect(comparable(state), step).toEqual(comparable(await decrypted(recordedState(step))));
    }
    const resources =
        (await exportState({ cwd: join(work, "stack"), stack: "rec", stateDir })).deployment.resources ?? [];
    const { calls, state, result } = await play("14-destroy", stateDir);
    expect(result.result).toBe("succeeded");
    expect(state.deployment.resources).toBeUndefined();
    const deletes = new Map(calls.filter(({ method }) => method === "Delete").map((call) => [call.urn, call]));
    for (const resource of resources) {
        for (const urn of needs(resource)) {
            const [first, second] = [deletes.get(resource.urn), deletes.get(urn)];
            if (first && second) expect(first.end, `${resource.urn} before ${urn}`).toBeLessThan(second.begin ?? 0);
        }
    }
    expect(readFileSync(join(stateDir, "stacks/recorded/rec.json"), "utf8")).not.toContain("s3cret-canary");
}, 180_000);
