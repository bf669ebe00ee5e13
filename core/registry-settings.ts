import { X509Certificate } from "node:crypto";
import type { z } from "zod";
import { FormatError } from "./problems";
import { isRegistry, isRepositoryName } from "./reference";
import { always, type Fault, flag, kindOf, late, leaf, report, secretText, text } from "./schema";
import { fields, isTable, list } from "./schema-tables";
import { checkSettings, type Late } from "./settings";
import { quote } from "./text";

const addressExpected = 'host[:port], such as "registry.example.com:5000"';

const address = text(addressExpected, (value) => {
    const [, scheme, rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(value) ?? [];
    if (scheme !== undefined) {
        const hint = `leave out ${quote(`${scheme}://`)}${/^http$/i.test(scheme) ? ", and set plainHttp: true" : ""}`;
        throw new FormatError(`${quote(value)} is a URL`, addressExpected, hint);
    }
    const slash = value.indexOf("/", rest.length);
    if (slash >= 0 && isRegistry(value.slice(0, slash))) {
        const hint = `the address is ${quote(value.slice(0, slash))}; what follows goes into pathPrefix`;
        throw new FormatError(`${quote(value)} goes on after the port`, addressExpected, hint);
    }
    if (!isRegistry(value)) throw new FormatError(`${quote(value)} is not a registry`, addressExpected);
    return value;
});

const pathExpected = 'a path such as "team/images", in lower case';

const pathPrefix = text(pathExpected, (value) => {
    if (isRepositoryName(value)) return value;
    const bare = value.replace(/^\/+|\/+$/g, "");
    const hint = isRepositoryName(bare) ? `without slashes around it: ${quote(bare)}` : undefined;
    throw new FormatError(`${quote(value)} is not a path in a registry`, pathExpected, hint);
});

const mirrorExpected = 'host[:port][/path], such as "mirror.example.com:5000/docker.io"';

const mirror = text(mirrorExpected, (value) => {
    const [host = "", ...path] = value.replace(/^https?:\/\//i, "").split("/");
    const right = isRegistry(host) && (path.length === 0 || isRepositoryName(path.join("/")));
    if (/^https?:\/\//i.test(value)) {
        const own = "a mirror's plain HTTP or authority is said in a RegistryConnection of its own";
        throw new FormatError(`${quote(value)} is a URL`, mirrorExpected, `leave out the scheme; ${own}`);
    }
    if (!right) throw new FormatError(`${quote(value)} is not a mirror`, mirrorExpected);
    return value;
});

const certificateExpected = "certificates in PEM (-----BEGIN CERTIFICATE-----), their text and not a file's path";

/** One or more certificates; never repeated in a message: people paste keys beside them. */
const certificates = leaf<string>(certificateExpected, (value): Fault | undefined => {
    if (typeof value !== "string") return { found: kindOf(value), expected: certificateExpected, wrongKind: true };
    const wrong = (found: string, hint?: string): Fault =>
        hint === undefined ? { found, expected: certificateExpected } : { found, expected: certificateExpected, hint };
    if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(value)) {
        return wrong("it holds a private key", "only certificates belong here");
    }
    const blocks = value.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) {
        const isPath = /^[\w./~-]+$/.test(value.trim()) && value.length < 4096;
        return wrong("no certificate in it", isPath ? 'read the file: readFileSync(path, "utf8")' : undefined);
    }
    const broken = blocks.findIndex((block) => !isCertificate(block));
    return broken < 0 ? undefined : wrong(`certificate ${broken + 1} of ${blocks.length} can't be read`);
});

function isCertificate(pem: string): boolean {
    try {
        return new X509Certificate(pem).subject !== undefined;
    } catch {
        return false;
    }
}

const keyExpected = "a private key in PEM, not encrypted";

const privateKey = leaf<string>(keyExpected, (value): Fault | undefined => {
    if (typeof value !== "string") return { found: kindOf(value), expected: keyExpected, wrongKind: true };
    if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type:.*ENCRYPTED/m.test(value)) {
        return { found: "an encrypted key", expected: keyExpected, hint: "BuildKit reads none: decrypt it first" };
    }
    return /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(value)
        ? undefined
        : { found: "no private key in it", expected: keyExpected };
});

/** The schema of a RegistryConnection's arguments; mirrors that are connections themselves are checked where they are made. */
export function registrySettings() {
    return fields({
        address: address.describe("The registry's `host[:port]`, the first part of every image's name"),
        plainHttp: flag().default(false).describe("Plain HTTP, where the registry speaks no TLS"),
        ca: certificates.optional().describe("PEM of the private authority that signed the registry's certificate"),
        clientCertificate: late(fields({ certificate: certificates, privateKey }))
            .optional()
            .describe("For a registry that lets in only who has a certificate of its authority"),
        username: text("a user's name").optional().describe("With `password`; Docker's own configuration when unset"),
        password: secretText("a password").optional().describe("A secret: a password or a token"),
        mirrors: late(list(mirror, { of: "mirrors", identity: (value) => value }))
            .default([])
            .describe("Registries that nodes ask first, in this order"),
        pathPrefix: pathPrefix
            .optional()
            .describe("What every repository in it starts with: Harbor's project, Nexus' repository"),
    }).superRefine(crossChecks, always);
}

/** The settings after parsing, defaults filled in. */
export type RegistrySettings = z.output<ReturnType<typeof registrySettings>>;

/** @throws SettingsError with every problem at once. */
export function checkRegistrySettings(subject: string, value: unknown): Late<RegistrySettings> {
    return checkSettings(subject, registrySettings() as z.ZodType<RegistrySettings>, value);
}

function crossChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    for (const setting of ["ca", "clientCertificate"] as const) {
        if (value.plainHttp !== true || value[setting] === undefined) continue;
        const hint = `leave out plainHttp or ${setting}`;
        report(ctx, { found: "set together with plainHttp, which has no TLS", expected: "one of them", hint }, [
            setting,
        ]);
    }
    if ((value.username === undefined) === (value.password === undefined)) return;
    const [missing, given] = value.username === undefined ? ["username", "password"] : ["password", "username"];
    report(ctx, { found: `missing, with ${given} set`, expected: "both or none" }, [missing as string]);
}
