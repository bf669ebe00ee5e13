import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { stringify } from "yaml";
import { cacheRoot } from "../../drivers/tools";

/** What the tests' advisories say: `openssl` of Debian 12 is affected below `3.0.11-1~deb12u2`. */
export const opensslAdvisory = {
    id: "ORG-2026-0001",
    severity: "critical",
    ecosystem: "debian:12",
    package: "openssl",
    affected: "< 3.0.11-1~deb12u2",
    fixed: "3.0.11-1~deb12u2",
    urls: ["https://advisories.example.com/ORG-2026-0001"],
    date: "2026-01-31",
};

export function writeAdvisories(folder: string, ...advisories: object[]): string {
    mkdirSync(folder, { recursive: true });
    for (const [index, advisory] of advisories.entries()) {
        writeFileSync(join(folder, `advisory-${index}.yaml`), stringify(advisory));
    }
    return folder;
}

/** Gives the tests a cache of their own, with the tools of the real one still found. @returns undoes it. */
export function isolateCache(folder: string): () => void {
    const before = { PATH: process.env.PATH, BUILDFLEET_CACHE: process.env.BUILDFLEET_CACHE };
    process.env.PATH = `${before.PATH}${delimiter}${join(cacheRoot(), "bin")}`;
    process.env.BUILDFLEET_CACHE = folder;
    return () => {
        process.env.PATH = before.PATH;
        if (before.BUILDFLEET_CACHE === undefined) delete process.env.BUILDFLEET_CACHE;
        else process.env.BUILDFLEET_CACHE = before.BUILDFLEET_CACHE;
    };
}
