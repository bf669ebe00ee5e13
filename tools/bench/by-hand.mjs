// The other side of the comparison: prepares what the script needs, outside its time, and runs it.

import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkout, freePort, library, timed } from "./workspace.mjs";

/**
 * @param {{storage: string, base: {base: string, buildBase: string}, advisories: string}} given
 * @returns {Promise<number>} seconds
 */
export async function byHand({ storage, base, advisories }) {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-hand-"));
    try {
        const ports = { registry: await freePort(), amd64: await freePort(), arm64: await freePort() };
        const registry = `127.0.0.1:${ports.registry}`;
        mkdirSync(join(folder, "registry"));
        if (existsSync(storage)) cpSync(storage, join(folder, "registry"), { recursive: true });
        await writeConfiguration(folder, ports);
        const { advisoryDatabase } = library("drivers/scanners/advisories.js");
        const env = {
            ...process.env,
            W: folder,
            REGISTRY: registry,
            BASE: `${registry}/${base.base}`,
            BUILD_BASE: `${registry}/${base.buildBase}`,
            CONTEXT: join(checkout, "examples/hello"),
            VERSION: "1.0.0",
            NODE_amd64: `127.0.0.1:${ports.amd64}`,
            NODE_arm64: `127.0.0.1:${ports.arm64}`,
            GRYPE_DB_CACHE_DIR: (await advisoryDatabase(advisories)).path,
            COSIGN_PASSWORD: "bench",
            OTEL_TRACES_EXPORTER: "none",
        };
        const run = await timed("bash", [join(checkout, "tools/bench/by-hand.sh")], { cwd: folder, env });
        if (run.exitCode !== 0) throw new Error(`the script failed:\n${run.stdout}\n${run.stderr}`);
        return run.seconds;
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * @param {string} folder
 * @param {{registry: number, amd64: number, arm64: number}} ports
 */
async function writeConfiguration(folder, ports) {
    const { createAuthority, issueCertificate } = library("drivers/x509.js");
    const authority = await createAuthority({ name: "by hand", days: 2 });
    const client = await issueCertificate({ authority, commonName: "client", usage: "client", days: 1 });
    const write = (/** @type {string} */ name, /** @type {string} */ text) =>
        writeFileSync(join(folder, name), text, { mode: 0o600 });
    write("ca.pem", authority.certificate);
    write("client.pem", client.certificate);
    write("client-key.pem", client.privateKey);
    write("log", "");
    write(
        "signing-config.json",
        '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}',
    );
    write("trusted-root.json", '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}');
    write(
        "registry.yml",
        `version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${folder}/registry}}\nhttp: {addr: "127.0.0.1:${ports.registry}"}\n`,
    );
    for (const node of /** @type {const} */ (["amd64", "arm64"])) {
        const server = await issueCertificate({
            authority,
            commonName: node,
            usage: "server",
            dnsNames: [node],
            days: 1,
        });
        write(`${node}.pem`, server.certificate);
        write(`${node}-key.pem`, server.privateKey);
        write(
            `${node}.toml`,
            [
                `root = "${folder}/${node}"`,
                "[otel]", // two daemons on one machine need a socket each
                `socketPath = "${folder}/${node}.sock"`,
                "[grpc]",
                `address = ["tcp://127.0.0.1:${ports[node]}"]`,
                "[grpc.tls]",
                `cert = "${folder}/${node}.pem"`,
                `key = "${folder}/${node}-key.pem"`,
                `ca = "${folder}/ca.pem"`,
                "[worker.containerd]",
                "enabled = false",
                "[worker.oci]",
                "enabled = true",
                'networkMode = "host"',
                "max-parallelism = 4",
                `[registry."127.0.0.1:${ports.registry}"]`,
                "http = true",
                "",
            ].join("\n"),
        );
    }
}
