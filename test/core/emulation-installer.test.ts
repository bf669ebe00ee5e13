import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { handlerOf, isOurs, parseInstallerStatus, planInstaller } from "../../core/emulation/installer";
import { checkLimits, limitedCommand, limitsOf } from "../../core/limits";

const IMAGE = `registry.room:5000/tonistiigi/binfmt@sha256:${"0123456789abcdef".repeat(4)}`;

describe("an installer's image", () => {
    it("registers an emulator under a name that is this library's and this image's alone", () => {
        expect(planInstaller(IMAGE, "arm64", [])).toEqual({
            handler: "buildfleet-0123456789ab-qemu-aarch64",
            link: "/usr/bin/buildfleet-0123456789ab-qemu-aarch64",
            interpreter: "/usr/bin/qemu-aarch64",
            environment: { QEMU_BINARY_PATH: "/usr/bin", QEMU_BINARY_PREFIX: "buildfleet-0123456789ab-" },
        });
        expect(handlerOf(IMAGE, "arm64")).toBe("buildfleet-0123456789ab-qemu-aarch64");
    });

    it("may have its emulators elsewhere, as its own settings say", () => {
        const environment = ["PATH=/bin", "QEMU_BINARY_PATH=/opt/qemu", "QEMU_BINARY_PREFIX=buildkit-"];
        expect(planInstaller(IMAGE, "s390x", environment)).toMatchObject({
            link: "/opt/qemu/buildfleet-0123456789ab-qemu-s390x",
            interpreter: "/opt/qemu/buildkit-qemu-s390x",
        });
    });

    it("says what it sees, nothing as null; anything else is no status", () => {
        const status = { supported: ["linux/amd64"], emulators: ["qemu-arm"] };
        expect(parseInstallerStatus(JSON.stringify(status))).toEqual(status);
        const none = { supported: ["linux/amd64"], emulators: null };
        expect(parseInstallerStatus(JSON.stringify(none))).toEqual({ ...status, emulators: [] });
        for (const text of ["", "error: cannot mount", "{}", '{"supported":["a"]}', '{"supported":[1],"emulators":[]}'])
            expect(() => parseInstallerStatus(text), text).toThrow("does not say what it emulates");
    });

    it("knows this library's handlers of an architecture from others'", () => {
        expect(isOurs("buildfleet-0123456789ab-qemu-arm", "arm")).toBe(true);
        expect(isOurs("buildfleet-aarch64", "arm64")).toBe(true);
        expect(isOurs("buildfleet-aarch64", "arm")).toBe(false);
        expect(isOurs("qemu-aarch64", "arm64")).toBe(false);
    });
});

describe("limits", () => {
    it("are what the kernel counts in", () => {
        const limits = limitsOf({ memory: "2 GiB", cpus: 1.5 });
        expect(limits).toEqual({ memory: 2 ** 31, cpus: 1.5 });
        expect(limitedCommand("g", limits ?? {}).slice(2)).toEqual(["g", `${2 ** 31}`, "150000"]);
        expect(limitedCommand("g", { cpus: 0.01 }).slice(2)).toEqual(["g", "", "1000"]);
        expect(limitsOf({})).toBeUndefined();
    });

    it("are refused all at once where they are none", () => {
        expect(() => checkLimits("LocalFleet", { memory: "a lot", cpus: 5000 })).toThrow(
            /memory: "a lot" .*cpus: 5000 is out of range/s,
        );
    });

    it("shellcheck has nothing to say about the script that sets them", () => {
        const [, script = ""] = limitedCommand("g", {});
        const { stdout, status } = spawnSync("shellcheck", ["--severity=style", script], { encoding: "utf8" });
        expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
    });
});
