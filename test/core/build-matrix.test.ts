import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AxisValue, cellName } from "../../core/build-matrix";
import { matrixSettings, parseMatrix } from "../../core/matrix-settings";
import { SettingsError } from "../../core/problems";
import { settingsTable } from "../../core/settings-table";

type Values = Record<string, AxisValue>;
type Axes = Record<string, AxisValue[]>;

const cellsOf = (given: object) => parseMatrix("app", { limit: 1000, ...given }).cells;
const valuesOf = (given: object) => cellsOf(given).map(({ values }) => values);
const namesOf = (given: object) => cellsOf(given).map(({ name }) => name);
function problemsOf(given: unknown): string[] {
    try {
        parseMatrix("app", given);
        return [];
    } catch (error) {
        if (error instanceof SettingsError) return error.message.split("\n").slice(1);
        throw error;
    }
}

const value = fc.oneof(fc.stringMatching(/^[a-z][a-z0-9]{0,4}$/), fc.nat(30), fc.boolean());
/** Axes whose values give names of their own: `1` and "1" do not. */
const anyAxes: fc.Arbitrary<Axes> = fc.dictionary(
    fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/),
    fc.uniqueArray(value, { minLength: 1, maxLength: 4, selector: String }),
    { minKeys: 1, maxKeys: 4, noNullPrototype: true },
);
const someOf = (axes: Axes) =>
    fc
        .subarray(Object.keys(axes), { minLength: 1 })
        .chain((names) =>
            fc.tuple(...names.map((name) => fc.constantFrom(...(axes[name] ?? [])).map((v) => [name, v]))),
        )
        .map((entries) => Object.fromEntries(entries) as Values);
const product = (axes: Axes) => Object.values(axes).reduce((size, { length }) => size * length, 1);
const matches = (cell: Values, some: Values) => Object.entries(some).every(([axis, v]) => cell[axis] === v);

/** Axes, some combinations left out, and some new ones, each with a value that no axis has. */
const anyMatrix = anyAxes.chain((axes) =>
    fc.record({
        axes: fc.constant(axes),
        exclude: fc.array(someOf(axes), { maxLength: 3 }),
        include: fc.nat(3).map((length) =>
            Array.from(
                { length },
                (_, i): Values => ({
                    ...Object.fromEntries(Object.entries(axes).map(([axis, [first]]) => [axis, first as AxisValue])),
                    [Object.keys(axes)[0] as string]: `new${i}x`,
                }),
            ),
        ),
    }),
);
type Matrix = { axes: Axes; exclude: Values[]; include: Values[] };
const allGone = ({ axes, exclude, include }: Matrix) =>
    include.length === 0 && valuesOf({ axes }).every((cell) => exclude.some((some) => matches(cell, some)));

describe("the cells", () => {
    it("are all combinations, in the order of the axes", () => {
        expect(valuesOf({ axes: { version: [10, 12], os: ["ubuntu", "windows"] } })).toEqual([
            { version: 10, os: "ubuntu" },
            { version: 10, os: "windows" },
            { version: 12, os: "ubuntu" },
            { version: 12, os: "windows" },
        ]);
    });

    it("are as many as the product of the axes, less the excluded, more the included", () => {
        fc.assert(
            fc.property(anyMatrix, (matrix) => {
                fc.pre(!allGone(matrix));
                const { axes, exclude, include } = matrix;
                const all = valuesOf({ axes });
                expect(all).toHaveLength(product(axes));
                const excluded = all.filter((cell) => exclude.some((some) => matches(cell, some)));
                expect(cellsOf(matrix)).toHaveLength(all.length - excluded.length + include.length);
            }),
        );
    });

    it("have every value that is not excluded, once", () => {
        fc.assert(
            fc.property(anyMatrix, (matrix) => {
                fc.pre(!allGone(matrix));
                const cells = valuesOf(matrix);
                for (const some of matrix.exclude)
                    expect(
                        cells.filter(
                            (cell) => matches(cell, some) && !matrix.include.some((one) => matches(one, cell)),
                        ),
                    ).toEqual([]);
                expect(new Set(cells.map((cell) => JSON.stringify(cell))).size).toBe(cells.length);
            }),
        );
    });
});

describe("include and exclude mean what they do in GitHub Actions", () => {
    it("its documentation's example of include", () => {
        const matrix = {
            axes: { fruit: ["apple", "pear"], animal: ["cat", "dog"] },
            include: [
                { color: "green" },
                { color: "pink", animal: "cat" },
                { fruit: "apple", shape: "circle" },
                { fruit: "banana", animal: "cat" },
            ],
        };
        expect(valuesOf(matrix)).toEqual([
            { fruit: "apple", animal: "cat", color: "pink", shape: "circle" },
            { fruit: "apple", animal: "dog", color: "green", shape: "circle" },
            { fruit: "pear", animal: "cat", color: "pink" },
            { fruit: "pear", animal: "dog", color: "green" },
            { fruit: "banana", animal: "cat" },
        ]);
    });

    it("a new cell must have a value on every axis; there it could do without", () => {
        const axes = { fruit: ["apple", "pear"], animal: ["cat", "dog"] };
        expect(problemsOf({ axes, include: [{ fruit: "banana" }] })).toEqual([
            "  include[0]: fits no combination, and as a new one it has no animal; " +
                "expected a value on every axis of a new combination",
        ]);
    });

    it("its documentation's example of exclude: a part is enough", () => {
        const matrix = {
            axes: {
                os: ["macos-latest", "windows-latest"],
                version: [12, 14, 16],
                environment: ["staging", "production"],
            },
            exclude: [
                { os: "macos-latest", version: 12, environment: "production" },
                { os: "windows-latest", version: 16 },
            ],
        };
        expect(cellsOf(matrix)).toHaveLength(9);
    });

    it("include comes after exclude, and brings back what was excluded", () => {
        const axes = { region: ["eu", "us"], environment: ["staging", "production"] };
        const back = { region: "us", environment: "production", size: "small" };
        const matrix = {
            axes,
            exclude: [{ region: "us" }],
            include: [back, { environment: "production", replicas: 3 }],
        };
        expect(valuesOf(matrix)).toEqual([
            { region: "eu", environment: "staging" },
            { region: "eu", environment: "production", replicas: 3 },
            back,
        ]);
    });
});

describe("names", () => {
    const axes = { region: ["eu-west-1", "us-east-1"], platform: ["linux/amd64", "linux/arm/v7"], debug: [false] };

    it("say the values, in the order of the axes' names", () => {
        expect(namesOf({ axes })).toEqual([
            "app-false-linux-amd64-eu-west-1",
            "app-false-linux-arm-v7-eu-west-1",
            "app-false-linux-amd64-us-east-1",
            "app-false-linux-arm-v7-us-east-1",
        ]);
    });

    it("are unique, within the limit, and fit for names of resources", () => {
        fc.assert(
            fc.property(anyMatrix, fc.integer({ min: 20, max: 40 }), (matrix, maxNameLength) => {
                fc.pre(!allGone(matrix));
                const problems = problemsOf({ ...matrix, limit: 1000, maxNameLength });
                // Values such as "a1" and "a", 1 can give one name; that is told, and renames nothing.
                expect(problems.filter((problem) => !problem.includes("give two cells one name"))).toEqual([]);
                fc.pre(problems.length === 0);
                const names = namesOf({ ...matrix, maxNameLength });
                expect(new Set(names).size).toBe(names.length);
                expect(
                    names.filter((name) => name.length > maxNameLength || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)),
                ).toEqual([]);
            }),
        );
    });

    it("do not depend on the order of axes, values, includes and excludes", () => {
        const reversed = ({ axes, include, exclude }: Matrix) => ({
            axes: Object.fromEntries(
                Object.entries(axes)
                    .reverse()
                    .map(([axis, values]) => [axis, [...values].reverse()]),
            ),
            include: [...include].reverse(),
            exclude: [...exclude].reverse(),
        });
        const named = (matrix: Matrix) =>
            new Map(
                cellsOf({ ...matrix, maxNameLength: 20 }).map(({ name, values }) => [
                    JSON.stringify(Object.entries(values).sort()),
                    name,
                ]),
            );
        fc.assert(
            fc.property(anyMatrix, (matrix) => {
                fc.pre(!allGone(matrix) && problemsOf({ ...matrix, limit: 1000, maxNameLength: 20 }).length === 0);
                expect(named(reversed(matrix))).toEqual(named(matrix));
            }),
        );
    });

    it("stay when a value, a cell or a further setting of cells is added", () => {
        fc.assert(
            fc.property(anyMatrix, fc.nat(), fc.nat(4), (matrix, axis, place) => {
                fc.pre(!allGone(matrix));
                const { axes } = matrix;
                const chosen = Object.keys(axes)[axis % Object.keys(axes).length] as string;
                const grown = [...(axes[chosen] ?? [])];
                grown.splice(place, 0, "zzzzzzz");
                const cell = Object.fromEntries(Object.keys(axes).map((name) => [name, "yyyyyyy"]));
                const more = {
                    axes: { ...axes, [chosen]: grown },
                    exclude: matrix.exclude,
                    include: [{ note: "further" }, cell, ...matrix.include],
                    limit: 1000,
                };
                fc.pre(problemsOf(more).length === 0);
                const names = namesOf(more);
                for (const name of namesOf(matrix)) expect(names).toContain(name);
            }),
        );
    });

    it("that are cut are still told apart", () => {
        fc.assert(
            fc.property(fc.string(), fc.string(), (left, right) => {
                fc.pre(left !== right);
                const name = (end: string) =>
                    cellName({ name: "app", maxNameLength: 20 }, { a: "x".repeat(30) + end }, ["a"]);
                expect(name(left)).not.toBe(name(right));
                expect(name(left)).toHaveLength(20);
            }),
        );
    });

    it("that would be the same are refused: no other cell is renamed for them", () => {
        expect(problemsOf({ axes: { platform: ["linux/amd64", "linux-amd64"] } })).toEqual([
            '  axes.platform: "linux/amd64" and "linux-amd64" give two cells one name, "app-linux-amd64"; ' +
                "expected values that differ in letters and digits",
        ]);
    });
});

describe("the limit", () => {
    const axes = { region: [1, 2, 3], environment: ["a", "b"], platform: ["x", "y", "z", "w"] };

    it("is 20 cells; more are refused, with their number and the axes", () => {
        expect(problemsOf({ axes })).toEqual([
            "  axes: 24 cells (region 3 x environment 2 x platform 4) where at most 20 are allowed; " +
                "exclude some, or set limit to 24",
        ]);
        const include = [{ region: 4, environment: "a", platform: "x" }];
        expect(problemsOf({ axes, exclude: [{ platform: "w", region: 1 }], include })).toEqual([
            "  axes: 23 cells (region 3 x environment 2 x platform 4, 2 excluded, 1 included) where at most 20 are allowed; " +
                "exclude some, or set limit to 23",
        ]);
        expect(cellsOf({ axes, exclude: [{ platform: "w" }], limit: 18 })).toHaveLength(18);
    });

    it("refuses without counting them out", () => {
        const values = Array.from({ length: 500 }, (_, i) => i);
        const started = performance.now();
        const [problem] = problemsOf({ axes: { a: values, b: values, c: values, d: values } });
        expect(problem).toContain("62500000000 cells (a 500 x b 500 x c 500 x d 500) where at most 20 are allowed");
        expect(performance.now() - started).toBeLessThan(10_000);
    });
});

describe("wrong settings", () => {
    it.each<[string, unknown, string]>([
        ["no axes", {}, "axes: missing; expected a table of lists of values"],
        ["empty axes", { axes: {} }, "axes: empty; expected at least one axis"],
        ["an empty axis", { axes: { a: [] } }, "axes.a: empty; expected a list of values, at least one"],
        ["an axis as text", { axes: { a: "x" } }, "axes.a: found text; expected a list of values"],
        ["a value twice", { axes: { a: ["x", "x"] } }, "axes.a[1]: the same as item 0; leave one out"],
        ["a table as value", { axes: { a: [{}] } }, "axes.a[0]: found a table of settings; expected text, a number"],
        ["not a number", { axes: { a: [Number.NaN] } }, "axes.a[0]: NaN is no value"],
        ["an axis' name", { axes: { "a b": ["x"] } }, 'axes["a b"]: "a b" is not an axis'],
        [
            "a value without a name",
            { axes: { a: ["x", "/"] } },
            'axes.a[1]: "/" gives no name; expected a letter or digit',
        ],
        [
            "exclude of another axis",
            { axes: { region: ["x"] }, exclude: [{ regoin: "x" }] },
            'exclude[0].regoin: not an axis; did you mean "region"?',
        ],
        [
            "exclude of another value",
            { axes: { a: ["eu-west-1", 7] }, exclude: [{ a: "eu-west-2" }] },
            'exclude[0].a: "eu-west-2" is not on this axis; did you mean "eu-west-1"?',
        ],
        [
            "exclude of a number as text",
            { axes: { a: [77777] }, exclude: [{ a: "1" }] },
            'exclude[0].a: "1" is not on this axis; expected one of 77777',
        ],
        ["empty exclude", { axes: { a: ["x"] }, exclude: [{}] }, "exclude[0]: empty; expected at least one value"],
        ["empty include", { axes: { a: ["x"] }, include: [{}] }, "include[0]: empty; expected at least one value"],
        [
            "all excluded",
            { axes: { a: ["x"] }, exclude: [{ a: "x" }] },
            "exclude: nothing is left; expected at least one combination",
        ],
        [
            "a new cell twice",
            {
                axes: { a: ["x"] },
                include: [
                    { a: "y", b: 1 },
                    { a: "y", b: 2 },
                ],
            },
            "include[1]: the same combination as include[0]; join them",
        ],
        ["limit", { axes: { a: ["x"] }, limit: 0 }, "limit: 0 is out of range"],
        ["name's length", { axes: { a: ["x"] }, maxNameLength: 8 }, "maxNameLength: 8 is out of range"],
        ["a stranger", { axes: { a: ["x"] }, excludes: [] }, 'excludes: not a setting; did you mean "exclude"?'],
        ["no table", [], "found a list; expected a table of settings"],
    ])("%s", (_name, given, problem) => {
        expect(problemsOf(given).map((line) => line.trim())).toEqual([expect.stringContaining(problem)]);
    });

    it("are told all at once", () => {
        expect(problemsOf({ axes: { a: ["x", "x"], "b b": [1] }, exclude: [{}], limit: "5" })).toHaveLength(4);
        const axes = { a: ["x", "/"], b: [1] };
        const wrong = { axes, exclude: [{ a: "z" }, { c: 1 }], include: [{ a: "new" }] };
        expect(problemsOf(wrong).map((line) => line.trim().split(":")[0])).toEqual([
            "exclude[0].a",
            "exclude[1].c",
            "axes.a[1]",
            "include[0]",
        ]);
    });

    it("are all described", () => {
        const rows = settingsTable(matrixSettings("app"));
        expect(new Set(rows.map(({ path }) => path.split(/[.[]/)[0]))).toEqual(
            new Set(["axes", "include", "exclude", "limit", "maxNameLength"]),
        );
        expect(rows.filter(({ description }) => description === "")).toEqual([]);
    });
});
