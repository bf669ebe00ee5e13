import { type HostFacts, type HostNames, hostScript, type ManagedHostPlan, readFacts } from "../../core/host";
import { CommandError } from "../../drivers/process";
import type { SshSession } from "../../drivers/ssh";
import { word } from "../../drivers/ssh-files";

/** What is on the machine; changes nothing. */
export async function look(session: SshSession, { active, names, rootless }: ManagedHostPlan): Promise<HostFacts> {
    const given = `set -- ${active.map(word).join(" ")}\nrootless=${rootless ? names.user : ""}\n`;
    const { stdout } = await session.run(`${given}${withClaims("look.sh", names)}`, {
        what: "looking at the host",
        timeoutMs: 120_000,
    });
    return readFacts(stdout);
}

const withClaims = (name: string, names: HostNames) => hostScript("claims.sh", names) + hostScript(name, names);

/** Exit code of apply.sh where `claims` are no longer what they were. */
const CLAIMED_MEANWHILE = 75;

/**
 * @param claims of the machine as it was looked at
 * @returns whether they were still the same; otherwise nothing was changed.
 * @throws Error with what the machine said, when it could not be made what it is to be.
 */
export async function apply(
    session: SshSession,
    plan: ManagedHostPlan,
    owner: string,
    claims: string,
    timeoutMs: number,
): Promise<boolean> {
    const texts: Record<string, string> = {
        "apply.sh": withClaims("apply.sh", plan.names),
        paths: lines(plan.files.map(({ path }) => path)),
        "read-at-start": lines(plan.readAtStart),
        units: `${plan.enabled.join(" ")}\n`,
        started: `${plan.startDigest}\n`,
        tls: `${plan.tlsVersion}\n`,
        artifact: `${plan.artifact}\n`,
        owner: `${owner}\n`,
        seen: claims,
    };
    try {
        await change(session, plan.names, "setting up the builder", "apply.sh", timeoutMs, (stage) => [
            ...plan.files.map((file) => ({ ...file, path: `${stage}/root${file.path}` })),
            ...Object.entries(texts).map(([name, content]) => ({ path: `${stage}/${name}`, mode: "0600", content })),
        ]);
        return true;
    } catch (error) {
        if (error instanceof CommandError && error.exitCode === CLAIMED_MEANWHILE) return false;
        throw error;
    }
}

/** Leaves nothing behind; a machine that somebody else manages by now is left alone. */
export async function uninstall(
    session: SshSession,
    names: HostNames,
    owner: string,
    timeoutMs: number,
): Promise<void> {
    await change(session, names, "removing the builder", "uninstall.sh", timeoutMs, (stage) => [
        { path: `${stage}/uninstall.sh`, mode: "0600", content: hostScript("uninstall.sh", names) },
        { path: `${stage}/owner`, mode: "0600", content: `${owner}\n` },
    ]);
}

/** Until systemd has forgotten the unit: one that failed, or has just ended, still has the name. */
const awaitEnd = (unit: string) =>
    [
        `while [ "$(systemctl show --property=LoadState --value ${unit}.service)" != not-found ]; do`,
        `    systemctl reset-failed ${unit}.service 2>/dev/null || true`,
        "    sleep 0.2",
        "done",
    ].join("\n");

type Files = Parameters<SshSession["writeFiles"]>[0];

/** Stages files and has systemd run a script among them: once it runs, it comes to its end without us. */
async function change(
    session: SshSession,
    names: HostNames,
    what: string,
    script: string,
    timeoutMs: number,
    files: (stage: string) => Files,
): Promise<void> {
    // One change of a builder at a time; systemd refuses a second unit of the name.
    const unit = names.rename("buildfleet-change");
    // In memory: keys are among what is staged.
    const folder = `/run/${unit}`;
    // What a run that was killed has asked for comes to its end first.
    const stageScript = [
        awaitEnd(unit),
        "umask 077",
        `find /run -maxdepth 1 -name '${unit}.*' -mmin +1440 -exec rm -rf {} +`,
        `mktemp --directory ${folder}.XXXXXX`,
    ].join("\n");
    const { stdout } = await session.run(stageScript, { what, timeoutMs });
    const stage = stdout.trim();
    // Words without quotes: systemd 252 reads those of a transient unit wrongly when somebody reloads it before it starts.
    // The status in a file: another run that waits for the unit's name makes systemd forget how it ended.
    const runner = 'bash "$1/$2"; status=$?; rm -rf "$1/root"; echo $status >"$1/status"; exit $status\n';
    await session.writeFiles([...files(stage), { path: `${stage}/run`, mode: "0600", content: runner }], { what });
    const run = [
        `stage=${word(stage)}`,
        "while :; do",
        "    status=0",
        `    systemd-run --quiet --wait --collect --unit=${unit} --property=StandardOutput=file:"$stage/log" \\`,
        `        --property=StandardError=file:"$stage/log" /bin/bash "$stage/run" "$stage" ${word(script)} \\`,
        '        2>"$stage/said" || status=$?',
        // Another run was faster, and has the unit's name.
        `    grep -q '^Failed to start.* already ' "$stage/said" || break`,
        awaitEnd(unit),
        "done",
        'cat "$stage/said" >&2',
        'cat "$stage/log" 2>/dev/null || true',
        'if [ -e "$stage/status" ]; then status=$(cat "$stage/status"); elif [ $status = 0 ]; then status=1; fi',
        'rm -rf "$stage"',
        awaitEnd(unit),
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
