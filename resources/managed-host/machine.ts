import { type HostFacts, hostScript, type ManagedHostPlan, readFacts } from "../../core/host";
import { CommandError } from "../../drivers/process";
import type { SshSession } from "../../drivers/ssh";
import { word } from "../../drivers/ssh-files";

/** One change of a machine at a time; systemd refuses a second unit of the name. */
const UNIT = "buildfleet-change";
/** Kept in memory: keys are among what is staged. */
const STAGE = "/run/buildfleet-change";

/** What is on the machine; changes nothing. */
export async function look(session: SshSession, plan: ManagedHostPlan): Promise<HostFacts> {
    const arguments_ = plan.active.map(word).join(" ");
    const { stdout } = await session.run(`set -- ${arguments_}\n${hostScript("look.sh")}`, {
        what: "looking at the host",
        timeoutMs: 120_000,
    });
    return readFacts(stdout);
}

/** @throws Error with what the machine said, when it could not be made what it is to be. */
export async function apply(
    session: SshSession,
    plan: ManagedHostPlan,
    owner: string,
    timeoutMs: number,
): Promise<void> {
    const texts: Record<string, string> = {
        "apply.sh": hostScript("apply.sh"),
        paths: lines(plan.files.map(({ path }) => path)),
        "read-at-start": lines(plan.readAtStart),
        units: `${plan.enabled.join(" ")}\n`,
        started: `${plan.startDigest}\n`,
        tls: `${plan.tlsVersion}\n`,
        artifact: `${plan.artifact}\n`,
        owner: `${owner}\n`,
    };
    await change(session, "setting up the builder", "apply.sh", timeoutMs, (stage) => [
        ...plan.files.map((file) => ({ ...file, path: `${stage}/root${file.path}` })),
        ...Object.entries(texts).map(([name, content]) => ({ path: `${stage}/${name}`, mode: "0600", content })),
    ]);
}

/** Leaves nothing behind; a machine that somebody else manages by now is left alone. */
export async function uninstall(session: SshSession, owner: string, timeoutMs: number): Promise<void> {
    const { stdout } = await session.run("cat /etc/buildfleet/owner 2>/dev/null || true", {
        what: "looking at the host",
    });
    if (stdout.trim() !== owner) return;
    await change(session, "removing the builder", "uninstall.sh", timeoutMs, (stage) => [
        { path: `${stage}/uninstall.sh`, mode: "0600", content: hostScript("uninstall.sh") },
    ]);
}

/** Until systemd has forgotten the unit: one that failed, or has just ended, still has the name. */
const AWAIT_END = [
    `while [ "$(systemctl show --property=LoadState --value ${UNIT}.service)" != not-found ]; do`,
    `    systemctl reset-failed ${UNIT}.service 2>/dev/null || true`,
    "    sleep 0.2",
    "done",
].join("\n");

type Files = Parameters<SshSession["writeFiles"]>[0];

/** Stages files and has systemd run a script among them: once it runs, it comes to its end without us. */
async function change(
    session: SshSession,
    what: string,
    script: string,
    timeoutMs: number,
    files: (stage: string) => Files,
): Promise<void> {
    // What a run that was killed has asked for comes to its end first.
    const stageScript = [
        AWAIT_END,
        "umask 077",
        `find /run -maxdepth 1 -name '${STAGE.replace("/run/", "")}.*' -mmin +1440 -exec rm -rf {} +`,
        `mktemp --directory ${STAGE}.XXXXXX`,
    ].join("\n");
    const { stdout } = await session.run(stageScript, { what, timeoutMs });
    const stage = stdout.trim();
    await session.writeFiles(files(stage), { what });
    const run = [
        `stage=${word(stage)}`,
        "status=0",
        `systemd-run --quiet --wait --collect --unit=${UNIT} --property=StandardOutput=file:"$stage/log" \\`,
        `    --property=StandardError=file:"$stage/log" /bin/bash -c 'bash "$0/$1"; status=$?; rm -rf "$0/root"; exit $status' \\`,
        `    "$stage" ${word(script)} || status=$?`,
        'cat "$stage/log" 2>/dev/null || true',
        'rm -rf "$stage"',
        AWAIT_END,
        "exit $status",
    ].join("\n");
    try {
        await session.run(run, { what, timeoutMs });
    } catch (error) {
        if (error instanceof CommandError && error.timedOut) {
            throw new Error(`${error.message}\n  it goes on on ${session.where}; the next update waits for it`);
        }
        throw error;
    }
}

const lines = (texts: readonly string[]) => texts.map((text) => `${text}\n`).join("");
