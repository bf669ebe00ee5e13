import { createPrivateKey, KeyObject, type webcrypto as WebCrypto, webcrypto, X509Certificate } from "node:crypto";
import { alternativeNames, canonicalAddress, requireAlternativeNames, requireNameAndDays } from "./x509-names";

/** A certificate with its private key. The key is a secret: PKCS#8, PEM. */
export interface CertificateWithKey {
    /** PEM. */
    certificate: string;
    /** PEM, PKCS#8, not encrypted: keep it in a secret output or a file of mode 0600. */
    privateKey: string;
    /** ISO 8601. */
    notAfter: string;
    /** `sha256:<hex>` of the DER bytes. */
    fingerprint: string;
}

/** A certificate authority of our own: self-signed, for nothing but client and server certificates. */
export interface Authority extends CertificateWithKey {
    /** Hex; what the `authorityKeyIdentifier` of its certificates names. */
    subjectKeyId: string;
}

type X509Library = typeof import("@peculiar/x509");

/** What {@link createAuthority} takes. */
export interface AuthoritySettings {
    /** Common name. */
    name: string;
    /** Validity in days, counted from `now`. */
    days: number;
    /** Default: the clock. */
    now?: Date;
}

/** What {@link issueCertificate} takes. */
export interface CertificateSettings {
    authority: { certificate: string; privateKey: string };
    commonName: string;
    usage: "server" | "client";
    /** Names a client may dial. A server certificate needs one of these or an address. */
    dnsNames?: string[];
    /** IPv4 or IPv6 addresses a client may dial. */
    ipAddresses?: string[];
    /** Validity in days from `now`; ends with the authority's own at the latest. */
    days: number;
    /** Default: the clock. */
    now?: Date;
}

/** What a certificate says of itself. */
export interface CertificateDescription {
    subject: string;
    issuer: string;
    /** ISO 8601. */
    notBefore: string;
    /** ISO 8601. */
    notAfter: string;
    /** `sha256:<hex>` of the DER bytes. */
    fingerprint: string;
    dnsNames: string[];
    /** In canonical form: `127.0.0.1`, `::1`. */
    ipAddresses: string[];
}

const DAY_MS = 86_400_000;
/** Certificates are valid a little before they were made: the nodes' clocks need not agree with ours. */
const CLOCK_SKEW_MS = 5 * 60_000;
const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Creates a self-signed authority (ECDSA P-256, RFC 5280 profile).
 * @throws Error when the name is empty or `days` is not positive.
 */
export async function createAuthority(settings: AuthoritySettings): Promise<Authority> {
    requireNameAndDays(settings.name, settings.days);
    const x509 = await loadX509();
    const now = settings.now ?? new Date();
    const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
    const subjectKeyId = await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
        {
            name: commonName(x509, settings.name),
            serialNumber: randomSerial(),
            notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
            notAfter: new Date(now.getTime() + settings.days * DAY_MS),
            keys,
            signingAlgorithm: KEY_ALGORITHM,
            extensions: [
                new x509.BasicConstraintsExtension(true, 0, true),
                new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
                subjectKeyId,
            ],
        },
        webcrypto,
    );
    return { ...withKey(certificate.toString("pem"), keys.privateKey), subjectKeyId: subjectKeyId.keyId };
}

/**
 * Issues a certificate for a server (a node) or a client (whoever builds).
 * @throws Error when the authority's halves don't belong together or it has expired, when a server has no name to be
 * dialled by, or when a name or an address is none.
 */
export async function issueCertificate(settings: CertificateSettings): Promise<CertificateWithKey> {
    const { dnsNames = [], ipAddresses = [], now = new Date() } = settings;
    requireNameAndDays(settings.commonName, settings.days);
    requireAlternativeNames(settings.usage, dnsNames, ipAddresses);
    const signingKey = await importAuthorityKey(settings.authority, now);
    const x509 = await loadX509();
    const authority = new x509.X509Certificate(settings.authority.certificate);
    const authorityKeyId = authority.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
    const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
    const alternativeNames = [
        ...dnsNames.map((value) => ({ type: "dns" as const, value })),
        ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
    ];
    const certificate = await x509.X509CertificateGenerator.create(
        {
            subject: commonName(x509, settings.commonName),
            issuer: authority.subjectName,
            serialNumber: randomSerial(),
            notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
            // One that outlived its authority would be refused with it, and renewed too late.
            notAfter: new Date(Math.min(now.getTime() + settings.days * DAY_MS, authority.notAfter.getTime())),
            publicKey: keys.publicKey,
            signingKey,
            signingAlgorithm: KEY_ALGORITHM,
            extensions: [
                new x509.BasicConstraintsExtension(false, undefined, true),
                new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
                new x509.ExtendedKeyUsageExtension([
                    settings.usage === "server" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
                ]),
                await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
                authorityKeyId
                    ? new x509.AuthorityKeyIdentifierExtension(authorityKeyId)
                    : await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey, false, webcrypto),
                ...(alternativeNames.length > 0 ? [new x509.SubjectAlternativeNameExtension(alternativeNames)] : []),
            ],
        },
        webcrypto,
    );
    return withKey(certificate.toString("pem"), keys.privateKey);
}

/**
 * Reads a certificate (the first one, of a bundle).
 * @throws Error when the text is no PEM certificate.
 */
export function describeCertificate(pem: string): CertificateDescription {
    const certificate = parse(pem);
    const names = alternativeNames(certificate.subjectAltName ?? "");
    return {
        subject: certificate.subject.replaceAll("\n", ", "),
        issuer: certificate.issuer.replaceAll("\n", ", "),
        notBefore: new Date(certificate.validFrom).toISOString(),
        notAfter: new Date(certificate.validTo).toISOString(),
        fingerprint: fingerprintOf(certificate),
        dnsNames: names.filter((name) => name.type === "DNS").map((name) => name.value),
        ipAddresses: names.filter((name) => name.type === "IP Address").map((name) => canonicalAddress(name.value)),
    };
}

/** Whether the certificate ends within `renewBeforeDays` days of `now`, or has ended. */
export function needsRenewal(pem: string, now: Date, renewBeforeDays: number): boolean {
    return now.getTime() >= new Date(parse(pem).validTo).getTime() - renewBeforeDays * DAY_MS;
}

/**
 * One PEM file of several certificates or bundles, each certificate once, in the order given: what is trusted while an
 * authority is exchanged for the next. Those that have ended before `now` are left out; default none.
 */
export function bundle(pems: string[], now?: Date): string {
    const certificates = new Map<string, string>();
    for (const pem of pems) {
        for (const block of pem.match(PEM_CERTIFICATE) ?? []) {
            const certificate = parse(block);
            if (now && new Date(certificate.validTo).getTime() <= now.getTime()) continue;
            certificates.set(fingerprintOf(certificate), certificate.toString());
        }
    }
    return [...certificates.values()].map((certificate) => `${certificate.trim()}\n`).join("");
}

/** Issuing needs an ASN.1 library that takes over 100 ms to load; reading a certificate does not. */
async function loadX509(): Promise<X509Library> {
    await import("reflect-metadata"); // which @peculiar/x509 expects whoever uses it to load first
    return import("@peculiar/x509");
}

/** As a UTF8String, said explicitly: the library would read a bare `#…` as hex-encoded DER (RFC 4514). */
function commonName(x509: X509Library, value: string): InstanceType<X509Library["Name"]> {
    return new x509.Name([{ CN: [{ utf8String: value }] }]);
}

async function importAuthorityKey(
    authority: { certificate: string; privateKey: string },
    now: Date,
): Promise<WebCrypto.CryptoKey> {
    const certificate = parse(authority.certificate);
    const privateKey = createPrivateKey(authority.privateKey);
    if (privateKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
        throw new Error(`authority ${certificate.subject}: its key is not ECDSA P-256`);
    }
    if (!certificate.checkPrivateKey(privateKey)) {
        throw new Error(`authority ${certificate.subject}: the private key does not belong to the certificate`);
    }
    if (new Date(certificate.validTo).getTime() <= now.getTime()) {
        throw new Error(`authority ${certificate.subject}: expired on ${certificate.validTo}; create a new one`);
    }
    const der = privateKey.export({ type: "pkcs8", format: "der" });
    return webcrypto.subtle.importKey("pkcs8", der, KEY_ALGORITHM, false, ["sign"]);
}

function withKey(certificate: string, privateKey: WebCrypto.CryptoKey): CertificateWithKey {
    const { notAfter, fingerprint } = describeCertificate(certificate);
    return {
        certificate: `${certificate.trim()}\n`,
        privateKey: KeyObject.from(privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
        notAfter,
        fingerprint,
    };
}

/** 128 random bits, in hex (RFC 5280 4.1.2.2: positive, at most 20 octets; the encoder adds the sign octet). */
function randomSerial(): string {
    return Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString("hex");
}

function parse(pem: string): X509Certificate {
    try {
        return new X509Certificate(pem);
    } catch (error) {
        throw new Error("not a PEM certificate", { cause: error });
    }
}

function fingerprintOf(certificate: X509Certificate): string {
    return `sha256:${certificate.fingerprint256.replaceAll(":", "").toLowerCase()}`;
}
