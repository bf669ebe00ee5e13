import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SettingsError } from "../../core/problems";
import { withFiles } from "../../stacks/files";

let folder: string;
let file: string;
beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "stack-files-"));
    file = join(folder, "room.pem");
    writeFileSync(file, "content\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a setting `…File` is the content of that file, wherever it is", () => {
    const settings = { registry: { caFile: file }, builders: { nodes: [{ client: { privateKeyFile: file } }] } };
    expect(withFiles("settings", settings)).toEqual({
        registry: { ca: "content" },
        builders: { nodes: [{ client: { privateKey: "content" } }] },
    });
});

it("names that are the user's own stay, whatever they end with", () => {
    const settings = {
        image: { buildArgs: { NginxConfFile: file }, mirrored: { BaseFile: "debian" } },
        mirror: { images: { DockerFile: "docker.io/library/debian:12" } },
        builders: { external: { nodes: [{ docker: { env: { SSL_CERT_File: "/etc/ssl/cert.pem" } } }] } },
    };
    expect(withFiles("settings", settings)).toEqual(settings);
});

it("tells every file that can't be read, and what is given twice", () => {
    const wrong = () => withFiles("settings", { a: { caFile: join(folder, "none") }, ca: "x", caFile: file });
    expect(wrong).toThrow(SettingsError);
    expect(wrong).toThrow("settings: 2 problems");
});
