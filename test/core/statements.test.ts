import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PREDICATES, saysTheSame } from "../../core/statements";

const sbom = (created: string, uuid: string, packages: string[]) => ({
    creationInfo: { created, creators: ["Tool: syft-1.54.1"] },
    documentNamespace: `https://anchore.com/syft/image/app-${uuid}`,
    packages: packages.map((name) => ({ name })),
});
const scan = (at: string, matches: string[], database = "2026-11-20T00:00:00Z") => ({
    scanner: {
        version: "0.120.1",
        db: { uri: "public", version: "", lastUpdate: database },
        result: { matches, descriptor: { timestamp: at, configuration: { file: `/tmp/${at}` } } },
    },
    metadata: { scanStartedOn: at, scanFinishedOn: at },
});

describe("saysTheSame", () => {
    it("takes no account of when a document was made and how it was named", () => {
        fc.assert(
            fc.property(fc.string(), fc.string(), fc.array(fc.string()), (left, right, found) => {
                const sboms = [sbom(left, left, found), sbom(right, right, found)] as const;
                expect(saysTheSame(PREDICATES.sbom, ...sboms)).toBe(true);
                expect(saysTheSame(PREDICATES.scan, scan(left, found), scan(right, found))).toBe(true);
            }),
        );
    });

    it("tells other packages, other findings and another database apart", () => {
        expect(saysTheSame(PREDICATES.sbom, sbom("a", "a", ["zlib"]), sbom("a", "a", ["zlib", "openssl"]))).toBe(false);
        expect(saysTheSame(PREDICATES.scan, scan("a", []), scan("a", ["CVE-2026-1"]))).toBe(false);
        expect(saysTheSame(PREDICATES.scan, scan("a", []), scan("a", [], "2026-11-21T00:00:00Z"))).toBe(false);
    });

    it("compares all of a statement of any other type", () => {
        const type = PREDICATES.provenance;
        expect(
            saysTheSame(type, { metadata: 1, documentNamespace: "a" }, { metadata: 1, documentNamespace: "a" }),
        ).toBe(true);
        expect(saysTheSame(type, { metadata: 1 }, { metadata: 2 })).toBe(false);
        expect(saysTheSame(type, { documentNamespace: "a" }, { documentNamespace: "b" })).toBe(false);
    });

    it("changes neither of the two", () => {
        const [left, right] = [sbom("a", "a", []), sbom("b", "b", [])];
        saysTheSame(PREDICATES.sbom, left, right);
        expect([left, right]).toEqual([sbom("a", "a", []), sbom("b", "b", [])]);
    });
});
