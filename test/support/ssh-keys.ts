import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The keys of a test's own sshd and of its client. */
export interface HostKeys {
    /** OpenSSH's format. */
    privateKey: string;
    /** `ssh-ed25519 AAAA…` */
    hostKey: string;
}

/** Makes `host`, `host.pub`, `client` and `client.pub` in a folder. */
export function generateKeys(folder: string): HostKeys {
    for (const name of ["host", "client"])
        execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", join(folder, name)]);
    return {
        privateKey: readFileSync(join(folder, "client"), "utf8"),
        hostKey: readFileSync(join(folder, "host.pub"), "utf8").trim(),
    };
}
