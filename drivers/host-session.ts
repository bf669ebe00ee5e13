import type { SshTarget } from "../core/ssh-target";
import { run } from "./process";
import { type ScriptOptions, type SshSession, scriptOnInput, withSsh } from "./ssh";

/** A host on which scripts run: another one over SSH, or this one. */
export type HostSession = Pick<SshSession, "where" | "run">;

/** Opens a host: over SSH where a target is given, or else the one that runs this program, as its user. */
export async function withHost<T>(
    target: SshTarget | undefined,
    use: (session: HostSession) => Promise<T>,
): Promise<T> {
    return target ? withSsh(target, use) : use(thisHost);
}

const thisHost: HostSession = {
    where: "this machine",
    async run(script: string, { input, what: _what, ...options }: ScriptOptions = {}) {
        const { command, stdin } = scriptOnInput(script, input);
        return run("bash", ["-c", command], { ...options, input: stdin, where: "this machine" });
    },
};
