import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withRegistry } from "../../drivers/registry-access";
import { findTool } from "../../drivers/tools";
import { writeAdvisories, writeAppContext } from "../support/app";
import { pushDebianImage } from "../support/debian-image";
import { formerRobot, Room, type RoomRegistry, robot } from "../support/room";
import { type Run, TestStack } from "../support/stack";

/** Every registry of `room.json` that is asked for, nodes that were told of all, and one image in each. */
const PROGRAM = `
const read = (name) => JSON.parse(require("node:fs").readFileSync(name + ".json", "utf8"));
const connections = {};
function connect(name, { mirror, ...args }, all) {
    const mirrors = mirror && { mirrors: [(connections[mirror] ??= connect(mirror, all[mirror], all))] };
    return (connections[name] ??= new buildfleet.RegistryConnection(name, { ...args, ...mirrors }));
}
const room = read("room");
const good = Object.entries(room).map(([name, args]) => connect(name, args, room));
const fleet = new buildfleet.LocalFleet("builders", {
    platforms: ["linux/amd64"],
    registries: buildfleet.RegistryConnection.nodeSettingsOf(good),
});
const key = new buildfleet.SigningKey("key");
const wrong = settings.wrong ? read("wrong") : {};
const image = (name, connection) => new buildfleet.MultiPlatformImage(name, {
    fleet,
    repository: connection.repository(wrong[name] ? "team/" + name : "team/app"),
    context: name === "origin" ? "based" : "app",
    platforms: ["linux/amd64"],
    version: "1.4.2",
    emulation: "allow",
    test: { command: ["/app", "--version"] },
    scan: { advisories: "advisories" },
    sign: { key },
});
const images = settings.images.map((name) => [name, image(name, connections[name])]);
for (const [name, args] of Object.entries(wrong)) image(name, connect(name, args, wrong));
module.exports = { publicKey: key.publicKey, ...Object.fromEntries(images.map(([name, { ref, sbom, vulnerabilities }]) =>
    [name, { ref, sbom, vulnerabilities }])) };
`;

const KINDS = ["plain", "htpasswd", "token", "certificate", "origin"];
const settings = { images: KINDS };

describe("a machine room's registries", () => {
    const room = new Room();
    // buildx asks a token service with the system's authorities only; the nodes know the room's.
    const stack = new TestStack(PROGRAM, { env: { BUILDKIT_NO_CLIENT_TOKEN: "1" } });
    let released: Run;

    const kind = (name: string): RoomRegistry => {
        const registry = room.registries[name];
        if (!registry) throw new Error(`no registry ${name}`);
        return registry;
    };
    const repositoryOf = ({ address, pathPrefix }: RoomRegistry, path: string) =>
        [address, ...(pathPrefix ? [pathPrefix] : []), path].join("/");

    /** skopeo, which knows nothing of ours, with what it needs in files of its own. */
    async function skopeo(registry: RoomRegistry, ...command: string[]): Promise<string> {
        const folder = stack.path(`skopeo-${registry.address}`);
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        const { ca, clientCertificate, username, password } = registry;
        const write = (name: string, text: string) => writeFileSync(`${folder}/${name}`, text, { mode: 0o600 });
        if (ca) write("ca.crt", ca);
        if (clientCertificate) {
            write("client.cert", clientCertificate.certificate);
            write("client.key", clientCertificate.privateKey);
        }
        const auth = username && { auth: Buffer.from(`${username}:${password}`).toString("base64") };
        write("auth.json", JSON.stringify({ auths: auth ? { [registry.address]: auth } : {} }));
        const [verb = "", ...rest] = command;
        const tls = registry.plainHttp ? ["--tls-verify=false"] : ["--cert-dir", folder];
        const args = [verb, "--authfile", `${folder}/auth.json`, ...tls, ...rest];
        return (await promisify(execFile)(findTool("skopeo"), args)).stdout;
    }

    beforeAll(async () => {
        await room.start();
        writeFileSync(stack.path("room.json"), JSON.stringify(room.registries), { mode: 0o600 });
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        const origin = `${room.address("origin")}/base/debian`;
        await withRegistry(origin, { plainHttp: true }, async ({ client, path }) => {
            const { digest } = await pushDebianImage(client, path, [{ name: "base-files", version: "12.4" }]);
            const { bytes, mediaType } = await client.getManifest(path, digest);
            await client.putManifest(path, "12", mediaType, bytes);
        });
        writeAppContext(stack.path("based"));
        const lines = [`FROM ${origin}:12`, "COPY app-amd64 /app", 'RUN ["/app"]', 'ENTRYPOINT ["/app"]', ""];
        writeFileSync(stack.path("based/Dockerfile"), lines.join("\n"));
        released = await stack.run("up", settings, ["--show-secrets"]);
        if (released.exitCode !== 0) throw new Error(`up failed:\n${released.stderr}`);
    }, 240_000);
    afterAll(async () => {
        await stack.dispose();
        await room.dispose();
    });

    it.each(KINDS)("%s: built, listed, scanned, signed, verified and released", async (name) => {
        const { ref, sbom, vulnerabilities } = released.outputs[name];
        const repository = repositoryOf(kind(name), "team/app");
        expect(ref).toMatch(new RegExp(`^${repository}@sha256:[0-9a-f]{64}$`));
        // The package database's one, and the program's own two.
        expect(sbom["linux/amd64"].packages).toBe(3);
        expect(vulnerabilities["linux/amd64"]).toMatchObject({ packages: 3, source: "advisories" });
        const digest = ref.slice(ref.indexOf("@") + 1);
        for (const tag of ["1.4.2", "1.4", "1", "latest"]) {
            const found = await skopeo(
                kind(name),
                "inspect",
                "--format",
                "{{.Digest}}",
                `docker://${repository}:${tag}`,
            );
            expect(found.trim()).toBe(digest);
        }
        // Index and image: each signed, and each image with its bill of materials, scan and provenance.
        const { Tags } = JSON.parse(await skopeo(kind(name), "list-tags", `docker://${repository}`));
        expect(Tags).toContain(`sha256-${digest.slice("sha256:".length)}`);
    });

    it("let nobody in without password, token or certificate", async () => {
        for (const name of ["htpasswd", "token", "certificate", "mirror"]) {
            const { ca = "" } = kind(name);
            const asked = withRegistry(repositoryOf(kind(name), "team/app"), { ca }, ({ client, path }) =>
                client.headManifest(path, "1.4.2"),
            );
            await expect(asked, name).rejects.toThrow();
        }
    });

    it.each(KINDS)("%s: everybody who has to do with it was let in", (name) => {
        const letIn = room.log(name).filter((line) => / 20\d /.test(line));
        for (const who of [/buildkit\//, /"buildfleet"/, /cosign\//, /syft go-containerregistry/]) {
            expect(letIn.filter((line) => who.test(line)).length, `${who}`).toBeGreaterThan(0);
        }
    });

    it("token: its service gave the robot tokens to push, and was asked by nobody else", () => {
        const asked = room.tokens.filter((line) => line.split(" ")[1] !== "-");
        expect(new Set(asked.map((line) => line.split(" ")[1]))).toEqual(new Set([robot.username]));
        expect(asked.some((line) => line.endsWith(" repository:room/team/app:pull,push"))).toBe(true);
    });

    it("a mirror is asked first, and is pushed nothing", () => {
        const byNode = (name: string, pattern: RegExp) =>
            room.log(name).filter((line) => pattern.test(line) && /buildkit\//.test(line));
        const base = /"(?:GET|HEAD) \/v2\/base\/debian\//;
        // The mirror wants a password, which the build handed to the node.
        expect(byNode("mirror", base).filter((line) => / 200 /.test(line)).length).toBeGreaterThan(0);
        expect(byNode("origin", base)).toEqual([]);
        expect(byNode("origin", /"PUT \/v2\/team\/app\/manifests\//).length).toBeGreaterThan(0);
        expect(room.log("mirror").filter((line) => /"(?:PUT|POST|PATCH) /.test(line))).toEqual([]);
    });

    it("that are said wrongly are one error each, before anything is built", async () => {
        const { plain, htpasswd, token, certificate } = room.registries as Record<string, RoomRegistry>;
        const { ca: _, ...unknownAuthority } = htpasswd as RoomRegistry;
        const { clientCertificate: __, ...noCertificate } = certificate as RoomRegistry;
        const elsewhere = { address: "127.0.0.1:1", plainHttp: true };
        const wrong: Record<string, object> = {
            "wrong-password": { ...htpasswd, password: "wrong-canary" },
            "expired-token": { ...token, ...formerRobot },
            "other-project": { ...token, pathPrefix: "another" },
            "unknown-authority": unknownAuthority,
            "no-certificate": noCertificate,
            "http-for-https": { address: plain?.address },
            "https-for-http": { ...htpasswd, ca: undefined, plainHttp: true },
            nobody: elsewhere,
        };
        writeFileSync(stack.path("wrong.json"), JSON.stringify(wrong), { mode: 0o600 });
        const run = await stack.run("up", { ...settings, wrong: true });
        expect(run.exitCode).toBe(1);
        const errors = Object.fromEntries(
            run.errors.map(({ urn, message }) => [urn.slice(urn.lastIndexOf("::") + 2), message]),
        );
        expect(run.errors).toHaveLength(Object.keys(wrong).length);
        expect(Object.keys(errors).sort()).toEqual(
            Object.keys(wrong)
                .map((name) => `${name}-registry`)
                .sort(),
        );
        const told = (name: string) => errors[`${name}-registry`] ?? "";
        expect(told("wrong-password")).toContain("HTTP 401");
        expect(told("wrong-password")).toContain(
            `next: set username and password of ${htpasswd?.address} to ones that it accepts`,
        );
        expect(told("expired-token")).toContain("the robot account has expired");
        expect(told("expired-token")).toContain("a token may have expired");
        expect(told("other-project")).toContain(`give ${robot.username} the right to push there`);
        expect(told("unknown-authority")).toContain('next: set "ca"');
        expect(told("no-certificate")).toContain("set clientCertificate");
        expect(told("http-for-https")).toContain("next: set plainHttp: true");
        expect(told("https-for-http")).toContain("next: the registry speaks TLS: remove plainHttp");
        expect(told("nobody")).toContain("nothing listens at 127.0.0.1:1");
        for (const error of Object.values(errors)) expect(error).toContain("can't be released to; nothing was built");
        expect(`${run.stderr}${JSON.stringify(run.errors)}`).not.toMatch(/canary/);
        // Nothing of theirs was built or stored, and what was released is as it was.
        const components = Object.keys(wrong).map((name) => `create ${name}`);
        expect(run.did.filter((step) => !/-builder-/.test(step) && !components.includes(step))).toEqual([]);
        const { Tags } = JSON.parse(
            await skopeo(kind("htpasswd"), "list-tags", `docker://${repositoryOf(kind("htpasswd"), "team/app")}`),
        );
        expect(Tags).toContain("1.4.2");
    }, 300_000);
});
