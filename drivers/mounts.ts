import { readFileSync } from "node:fs";
import { sep } from "node:path";
import { run } from "./process";

/** Mount points below a folder, deepest first (proc(5), mountinfo field 5, octal escapes undone). */
function mountsBelow(folder: string, mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): string[] {
    return mountinfo
        .split("\n")
        .map((line) => line.split(" ")[4] ?? "")
        .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))))
        .filter((path) => path.startsWith(folder + sep))
        .sort((a, b) => b.length - a.length);
}

/** Unmounts what a killed daemon left mounted below its folder, so that the folder can be removed. */
export async function unmountBelow(folder: string): Promise<void> {
    for (const path of mountsBelow(folder)) await run("umount", [path], { where: folder });
}
