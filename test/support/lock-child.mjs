// `node lock-child.mjs hold KEY`: holds a lock until it is killed or its standard input ends.
// `node lock-child.mjs count KEY FILE`: takes it over and over, a dot a time; tells when somebody alive is in there, too.

import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { withLocks } = createRequire(import.meta.url)("../../dist/drivers/lock.js");
const [mode, key = "", file = ""] = process.argv.slice(2);

/** @param {number} pid */
const isAlive = (pid) => {
    try {
        // One that was killed and not waited for yet is a zombie.
        return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
        return false;
    }
};

if (mode === "hold") {
    await withLocks([key], async () => {
        process.stdout.write("held\n");
        process.stdin.resume();
        await once(process.stdin, "end");
    });
} else {
    for (;;) {
        await withLocks([key], async () => {
            try {
                writeFileSync(file, `${process.pid}`, { flag: "wx" });
            } catch {
                const other = Number(readFileSync(file, "utf8"));
                if (isAlive(other)) process.stdout.write(`${other} is in there, too\n`);
                writeFileSync(file, `${process.pid}`);
            }
            await new Promise((resolve) => setTimeout(resolve, 5));
            rmSync(file);
            process.stdout.write(".");
        });
    }
}
