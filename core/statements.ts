import { isDeepStrictEqual } from "node:util";

/** Types of the statements attested to each platform's image (cosign: pkg/cosign/attestation). */
export const PREDICATES = {
    sbom: "https://spdx.dev/Document",
    scan: "https://cosign.sigstore.dev/attestation/vuln/v1",
    provenance: "https://slsa.dev/provenance/v1",
} as const;

/**
 * What tells one run of a tool from the next and says nothing about the image: times, random names, the tool's own
 * temporary files. Which database a scan used stands in `scanner.db`, so `descriptor` (grype) adds nothing to it.
 */
const OCCASION: Record<string, string[][]> = {
    [PREDICATES.sbom]: [["creationInfo", "created"], ["documentNamespace"]],
    [PREDICATES.scan]: [["metadata"], ["scanner", "result", "descriptor"], ["scanner", "result", "CreatedAt"]],
};

/**
 * Whether two predicates of a type say the same about an image, apart from when they were made. Tools write another
 * document each time; a digest that comes back (a change that was taken back, a second stack) is not to collect a new
 * statement with each build.
 */
export function saysTheSame(predicateType: string, left: unknown, right: unknown): boolean {
    const paths = OCCASION[predicateType] ?? [];
    const essence = (predicate: unknown) => paths.reduce(without, predicate);
    return isDeepStrictEqual(essence(left), essence(right));
}

function without(value: unknown, [key = "", ...rest]: string[]): unknown {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return value;
    const { [key]: found, ...others } = value as Record<string, unknown>;
    return rest.length === 0 ? others : { ...others, [key]: without(found, rest) };
}
