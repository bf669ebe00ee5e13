import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSame } from "../../core/same";
import { BuildMatrix, type MultiPlatformImageArgs, SettingsError } from "../../index";
import { type Declared, declare } from "../support/declared";

const BASE: MultiPlatformImageArgs = {
    fleet: { nodes: [{ name: "a", endpoint: "unix:///run/a.sock", platforms: ["linux/amd64"] }] },
    repository: "registry.example.com/team/app",
    context: "service",
    platforms: ["linux/amd64"],
    sign: false,
};
const axes = { environment: ["staging", "production"], region: ["eu-west-1", "us-east-1"] } as const;
const matrixOf = () => new BuildMatrix("app", { axes });
const imagesIn = (resources: Declared[]) =>
    resources.flatMap(({ type, name }) => (type === "buildfleet:index:MultiPlatformImage" ? name : []));

describe("images of a matrix", () => {
    it("are one for each cell, named by it", async () => {
        const { resources } = await declare(() => {
            matrixOf().images(({ values }) => ({ ...BASE, buildArgs: { ...values } }));
        });
        expect(imagesIn(resources)).toEqual([
            "app-staging-eu-west-1",
            "app-staging-us-east-1",
            "app-production-eu-west-1",
            "app-production-us-east-1",
        ]);
    });

    it("are shared by cells with the same arguments, and declared once", async () => {
        const { resources, result } = await declare(() => {
            // A fresh table for every cell, its names in another order: what is in it counts.
            const images = matrixOf().images(({ values }) =>
                values.region === "eu-west-1"
                    ? { ...BASE, buildArgs: { A: "1", ENVIRONMENT: values.environment } }
                    : { ...BASE, target: undefined, buildArgs: { ENVIRONMENT: values.environment, A: "1" } },
            );
            const [first, second, third, fourth] = images.map(({ image }) => image);
            expect([first === second, third === fourth, first === third]).toEqual([true, true, false]);
            return images.map(({ name, values, image }) => ({ name, region: values.region, ref: image.ref }));
        });
        expect(imagesIn(resources)).toEqual(["app-staging-eu-west-1", "app-production-eu-west-1"]);
        expect(resources.filter(({ type }) => type === "docker-build:index:Image")).toHaveLength(2);
        expect(result.map(({ name, region }) => [name, region])).toEqual([
            ["app-staging-eu-west-1", "eu-west-1"],
            ["app-staging-us-east-1", "us-east-1"],
            ["app-production-eu-west-1", "eu-west-1"],
            ["app-production-us-east-1", "us-east-1"],
        ]);
        expect(result[0]?.ref).toBe(result[1]?.ref);
    });

    it("that take outputs are shared where it is the same output", async () => {
        const { resources } = await declare(() => {
            const shared = pulumi.output("1");
            const matrix = matrixOf();
            matrix.images(() => ({ ...BASE, buildArgs: { A: shared } }));
            new BuildMatrix("other", { axes }).images(() => ({ ...BASE, buildArgs: { A: pulumi.output("1") } }));
        });
        expect(imagesIn(resources)).toEqual([
            "app-staging-eu-west-1",
            "other-staging-eu-west-1",
            "other-staging-us-east-1",
            "other-production-eu-west-1",
            "other-production-us-east-1",
        ]);
    });

    it("are named by the axes that make the difference, whatever values the others have", async () => {
        const named = async (regions: string[]) => {
            const { resources } = await declare(() => {
                const matrix = new BuildMatrix("app", { axes: { region: regions, environment: axes.environment } });
                matrix.images(({ values }) => ({ ...BASE, buildArgs: { E: values.environment } }), {
                    by: ["environment"],
                });
            });
            return imagesIn(resources);
        };
        expect(await named(["us-east-1"])).toEqual(["app-staging", "app-production"]);
        expect(await named(["ap-south-1", "eu-west-1", "us-east-1"])).toEqual(["app-staging", "app-production"]);
    });

    it("that differ by more than `by` says are refused, and none is declared", async () => {
        let error: unknown;
        const { resources } = await declare(() => {
            try {
                matrixOf().images(({ values }) => ({ ...BASE, buildArgs: { ...values } }), { by: ["environment"] });
            } catch (thrown) {
                error = thrown;
            }
        });
        expect(error).toBeInstanceOf(SettingsError);
        expect((error as Error).message).toBe(
            [
                'BuildMatrix "app": 2 problems',
                "  by: cells app-staging-eu-west-1 and app-staging-us-east-1 share an image, and differ in buildArgs; " +
                    "expected every axis that makes a difference to the arguments",
                "  by: cells app-production-eu-west-1 and app-production-us-east-1 share an image, and differ in buildArgs; " +
                    "expected every axis that makes a difference to the arguments",
            ].join("\n"),
        );
        expect(imagesIn(resources)).toEqual([]);
        const by = ["enviroment"] as unknown as ["environment"];
        expect(() => matrixOf().images(() => BASE, { by })).toThrow('by[0]: "enviroment" is not an axis; did you mean');
    });

    it("take options as images do", async () => {
        class Group extends pulumi.ComponentResource {
            constructor() {
                super("buildfleet:index:LocalFleet", "group");
                new BuildMatrix("app", { axes: { a: ["x"] } }).images(() => BASE, { parent: this });
            }
        }
        const { resources } = await declare(() => {
            new Group();
        });
        expect(resources.find(({ name }) => name === "app-x")?.parent).toBe("group");
    });
});

describe("a cell", () => {
    it("is found by its name", () => {
        expect(matrixOf().cell("app-production-us-east-1").values).toEqual({
            environment: "production",
            region: "us-east-1",
        });
        expect(() => matrixOf().cell("app-production-us-east-2")).toThrow(
            'BuildMatrix "app" has no cell "app-production-us-east-2"; did you mean "app-production-us-east-1"?',
        );
    });
});

describe("sameness of arguments", () => {
    const plain = fc.jsonValue({ maxDepth: 3 });

    it("of plain values is that of what is in them", () => {
        const copy = (value: unknown): unknown => {
            if (Array.isArray(value)) return value.map(copy);
            if (typeof value !== "object" || value === null) return value;
            const reversed = Object.entries(value).reverse();
            return { ...Object.fromEntries(reversed.map(([name, item]) => [name, copy(item)])), absent: undefined };
        };
        fc.assert(
            fc.property(plain, plain, (left, right) => {
                expect(isSame(left, copy(left))).toBe(true);
                expect(isSame(left, right)).toBe(isSame(right, left));
                expect(isSame([left, right], [right, left])).toBe(isSame(left, right));
                expect(isSame({ a: left }, { a: left, b: right })).toBe(false);
            }),
        );
    });

    it("of everything else is identity", () => {
        const output = pulumi.output("a");
        class Thing {}
        const transform = () => undefined;
        const things = [output, Promise.resolve(1), new Thing(), new Map(), transform, Symbol.iterator];
        for (const thing of things) expect(isSame({ thing }, { thing })).toBe(true);
        expect(isSame(output, pulumi.output("a"))).toBe(false);
        expect(isSame(new Thing(), new Thing())).toBe(false);
        expect(isSame(new Map(), new Map())).toBe(false);
        expect(isSame({}, [])).toBe(false);
        expect(isSame("1", 1)).toBe(false);
    });
});
