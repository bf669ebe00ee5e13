import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";

/** Where Go, and so every tool we start, looks for the system's authorities (crypto/x509, root_linux.go, root_bsd.go). */
const SYSTEM_FILES = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/** PEM of what a Go program trusts on this machine: `SSL_CERT_FILE`, or the system's file; undefined where neither is there. */
export function systemAuthorities(): string | undefined {
    const named = process.env.SSL_CERT_FILE;
    for (const path of named ? [named] : SYSTEM_FILES) {
        try {
            return readFileSync(path, "utf8");
        } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        }
    }
    return undefined;
}

/**
 * PEM of a private authority and of the public ones. Tools take one file for all they talk to: a registry's storage, its token
 * service and a KMS are often signed by others than the registry is.
 */
export function withPublicAuthorities(ca: string): string {
    return [ca, systemAuthorities() ?? rootCertificates.join("\n")].map((pem) => `${pem.trim()}\n`).join("");
}
