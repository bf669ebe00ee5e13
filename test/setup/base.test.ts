import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OciLayout } from "../../tools/base/oci.mjs";
import { onReadOnlyMachine } from "../../tools/base/rootfs.mjs";
import { aptSources } from "../../tools/base/sources.mjs";
import { hostArchitecture } from "../../tools/setup/context.mjs";

let folder: string;

beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-base-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("apt sources of the base image", () => {
    function machine(id: string, suite: string, files: Record<string, string>) {
        mkdirSync(join(folder, "etc/apt/sources.list.d"), { recursive: true });
        writeFileSync(join(folder, "etc/os-release"), `ID=${id}\nVERSION_CODENAME=${suite}\n`);
        for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, "etc/apt", name), text);
    }

    test("are the machine's own, without third parties, sources and disabled ones", () => {
        const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        machine("debian", "bookworm", {
            "sources.list": [
                "# deb http://commented.example bookworm main",
                "deb [arch=amd64 trusted=yes] http://mirror.example/debian bookworm main contrib # note",
                "deb-src http://mirror.example/debian bookworm main",
                "deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example bookworm main",
            ].join("\n"),
            "sources.list.d/debian.sources": `Types: deb deb-src
# a comment
URIs: http://a.example/debian
  http://b.example/debian
Suites: bookworm-updates bookworm-backports
Components: main
Signed-By: ${keyring}

Types: deb
URIs: http://c.example/debian-security
Suites: bookworm-security
Components: main
Enabled: no

Types: deb-src
URIs: http://d.example/debian
Suites: bookworm
Components: main
`,
        });
        expect(aptSources("arm64", folder)).toEqual([
            "deb [trusted=yes] http://mirror.example/debian bookworm main contrib",
            `deb [signed-by=${keyring}] http://a.example/debian bookworm-updates main`,
            `deb [signed-by=${keyring}] http://b.example/debian bookworm-updates main`,
        ]);
    });

    test("Ubuntu keeps other architectures on its ports server", () => {
        machine("ubuntu", "noble", { "sources.list": "deb http://archive.example/ubuntu noble main\n" });
        const [line] = aptSources("arm64", folder);
        const ports = "deb http://ports.ubuntu.com/ubuntu-ports noble main";
        expect(line).toBe(hostArchitecture() === "arm64" ? "deb http://archive.example/ubuntu noble main" : ports);
        expect(aptSources("amd64", folder)).toEqual(["deb http://archive.example/ubuntu noble main"]);
    });

    test("a machine that names none is told so", () => {
        machine("debian", "bookworm", {});
        expect(() => aptSources("amd64", folder)).toThrow("names no source of debian bookworm");
    });
});

test.runIf(process.getuid?.() === 0)("what makes the image can write in its own folder only", () => {
    const script = `echo ok > ${folder}/inside; echo bad > ${tmpdir()}/outside.$$ || echo bad > /etc/outside.$$`;
    const [command = "", ...args] = onReadOnlyMachine(folder, ["sh", "-c", script]);
    const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
    expect(stderr).toContain("/etc/outside");
    expect(status).not.toBe(0);
    expect(readFileSync(join(folder, "inside"), "utf8")).toBe("ok\n");
    expect(existsSync("/etc/outside")).toBe(false);
});

describe("the OCI layout", () => {
    async function make(name: string) {
        mkdirSync(join(folder, "root"), { recursive: true });
        writeFileSync(join(folder, "root/file"), "content");
        const tar = join(folder, "root.tar");
        execFileSync("tar", [
            "--create",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--file",
            tar,
            "-C",
            join(folder, "root"),
            ".",
        ]);
        const layout = new OciLayout(join(folder, name));
        const manifests = [await layout.addPlatform(tar, "amd64", "t"), await layout.addPlatform(tar, "arm64", "t")];
        const digest = layout.addImage("image", manifests);
        layout.finish();
        return digest;
    }

    test("is deterministic, and skopeo reads both platforms out of it", async () => {
        expect(await make("one")).toBe(await make("two"));
        for (const architecture of ["amd64", "arm64"]) {
            const options = ["inspect", "--override-os=linux", `--override-arch=${architecture}`];
            const seen = execFileSync("skopeo", [...options, `oci:${join(folder, "one")}:image`], { encoding: "utf8" });
            expect(JSON.parse(seen)).toMatchObject({ Os: "linux", Architecture: architecture });
        }
    });
});
