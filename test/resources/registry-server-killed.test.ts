import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { findTool } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/registry-service/operations";
import { BareHost } from "../support/bare-host";
import { freePort } from "../support/port";

const PROGRAM = readFileSync(findTool("registry"));
/** Another one that does the same. */
const NEXT_PROGRAM = Buffer.concat([PROGRAM, Buffer.from("\n")]);
const OWNER = "tests/first/room";
const FOLDER = "/etc/buildfleet-registry/room";
const UNIT = "buildfleet-registry-room";

const host = new BareHost();
let mirror: Server;
let inputs: Inputs;
type State = Awaited<ReturnType<typeof operations.create>>["outs"];

beforeAll(async () => {
    mirror = createServer((request, response) => {
        response.end(request.url === "/next" ? NEXT_PROGRAM : PROGRAM);
    }).listen(0, "127.0.0.1");
    await host.open(await freePort());
    inputs = {
        ssh: host.ssh,
        name: "room",
        owner: OWNER,
        port: await freePort(),
        artifact: artifact("registry", PROGRAM),
        storage: "/var/lib/buildfleet-registry/room",
        users: {},
        removeData: false,
    };
});
afterAll(async () => {
    await host.close();
    mirror.close();
});

const artifact = (path: string, bytes: Buffer) => ({
    url: `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/${path}`,
    sha256: sha256(bytes).slice(7),
});
const shell = (script: string) => host.shell(script);
const diff = async (state: State, now: Inputs) => (await operations.diff("", state, now)).changes;

describe("two stacks with a registry of one name on one host", () => {
    const SECOND = "tests/second/room";
    /** Files with their times, and the process. */
    const look = () =>
        shell(
            `find ${FOLDER} /opt/buildfleet-registry /etc/systemd/system/${UNIT}* -printf '%p %m %g %T@\\n'; pgrep -x registry`,
        );

    it("that come at once: one gets it, the other is told whose it is", async () => {
        const both = [OWNER, SECOND].map((owner) => operations.create({ ...inputs, owner }));
        const ended = await Promise.allSettled(both);
        const winner = (await shell(`cat ${FOLDER}/owner`)).trim();
        expect(ended.map(({ status }) => status)).toEqual(
            [OWNER, SECOND].map((owner) => (owner === winner ? "fulfilled" : "rejected")),
        );
        const refused = ended.find((one) => one.status === "rejected");
        expect(String(refused?.reason)).toContain(`is managed by ${winner}`);
        for (const one of ended) if (one.status === "fulfilled") await operations.delete("", one.value.outs);
    });

    it("that come one after the other: the second is refused, and what it deletes is not the first's", async () => {
        const { outs: first } = await operations.create(inputs);
        const before = await look();
        const second = { ...inputs, owner: SECOND, port: await freePort(), users: { ci: "a password" } };
        await expect(operations.create(second)).rejects.toThrow(
            /^the registry room on 127\.0\.0\.1 is managed by tests\/first\/room, and this is tests\/second\/room; nothing was changed\nnext: use it as it is .* or give this one another name and port, or delete it there first/,
        );
        await operations.delete("", { ...second, hashes: {} });
        expect(await look()).toBe(before);
        expect(await diff(first, inputs)).toBe(false);

        // A stack that was renamed is the same one.
        const renamed = { ...inputs, owner: "tests/renamed/room" };
        expect(await diff(first, renamed)).toBe(true);
        const { outs } = await operations.update("", first, renamed);
        expect(await shell(`cat ${FOLDER}/owner`)).toBe(renamed.owner);
        expect(await shell("pgrep -x registry")).toBe(before.split("\n").at(-1));
        await operations.delete("", outs);
        expect(await shell(`ls -d ${FOLDER}`)).toBe("");
    });

    it("of which an earlier version has set up one without a name: nobody takes it, and its own stack puts a name on it", async () => {
        const { owner: _, ...earlier } = inputs;
        const { outs } = await operations.create(earlier);
        expect(await shell(`ls ${FOLDER}/owner`)).toBe("");
        // An unchanged program shows no change.
        expect(await diff(outs, inputs)).toBe(false);
        await expect(operations.create(inputs)).rejects.toThrow(/nobody's name is on it; nothing was changed/);
        const { outs: named } = await operations.update("", outs, inputs);
        expect(await shell(`cat ${FOLDER}/owner`)).toBe(OWNER);
        await operations.delete("", named);
    });
});

/** Ends a script that comes over SSH with SIGKILL before the n-th of those of its steps that match. */
const KILLER = `
    # What sshd starts reads this, and so does the bash that takes its place.
    echo 'if [ -z "$BASH_ENV" ]; then export BASH_ENV=/run/killer.sh; else . /run/killer.sh; fi' >/root/.bashrc
    cat >/run/killer.sh <<'END'
unset BASH_ENV
[ -s /run/kill-at ] || return 0
step() {
    local at steps
    [[ $BASH_COMMAND =~ $(cat /run/kill-of) ]] || return 0
    read -r at </run/kill-at
    read -r steps </run/steps
    echo $((steps + 1)) >/run/steps
    [ "$((steps + 1))" != "$at" ] || { echo "$BASH_COMMAND" >/run/killed; kill -KILL $$; }
}
set -o functrace
trap step DEBUG
END`;
/** All that changes something on the host. */
const CHANGES = "^(mv|ln|rm|tar|install|chmod|find|:) |^systemctl .*(reload|restart|stop|able)";
const killAt = (step: number, of: string) =>
    shell(`echo '${of}' >/run/kill-of; echo 0 >/run/steps; rm -f /run/killed; echo ${step} >/run/kill-at`);
/** Started again, which registry answers: over plain HTTP, over HTTPS, or none. */
const restarted = () =>
    shell(`
        rm /run/kill-at
        systemctl restart ${UNIT}
        for scheme in http https; do
            curl --silent --insecure --max-time 5 --output /dev/null --dump-header - $scheme://127.0.0.1:${inputs.port}/v2/ |
                tr -d '\r' | grep -qix 'x-buildfleet-registry: room' && echo $scheme
        done`);

/** Kills a change before its first step, then its second, and so on to its end. */
async function killAtEach(state: State, wanted: Inputs, of: string) {
    const steps: { command: string; answers: string }[] = [];
    let fetched = 0;
    for (let step = 1; ; step++) {
        await killAt(step - fetched, of);
        const ended = await operations.update("", state, wanted).catch(() => undefined);
        const command = await shell("cat /run/killed 2>/dev/null");
        const answers = await restarted();
        if (ended) return { steps, state: ended.outs };
        if (command === "") throw new Error("it failed without being killed");
        // The program is not fetched a second time.
        if (fetched === 0 && !/partial|target/.test(command)) fetched = step - 1;
        steps.push({ command, answers });
    }
}

describe("a change that is killed", () => {
    let state: State;
    let changed: Inputs;
    beforeAll(async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        const server = { authority, commonName: "room", usage: "server" as const, ipAddresses: ["127.0.0.1"], days: 1 };
        changed = {
            ...inputs,
            artifact: artifact("next", NEXT_PROGRAM),
            tls: await issueCertificate(server),
            users: { ci: "a password" },
            garbageCollection: { schedule: "Sun 03:17", quietSeconds: 60 },
        };
        state = (await operations.create(inputs)).outs;
        await shell(KILLER);
    });
    /** Nothing of what was cut off is left. */
    const leftovers = () =>
        shell(`ls ${FOLDER} | wc -l; find /etc /usr/local /opt -name '*.buildfleet-new' -o -name '*.partial'`);

    it("before any of its steps leaves a registry that starts with what was or what is to be; the next one ends it", async () => {
        const ended = await killAtEach(state, changed, CHANGES);
        const answers = ended.steps.map((step) => step.answers);
        expect(answers.join(" ")).toMatch(/^(http )+(https ?)+$/);
        // Program, files, link, units, systemd, what is cleared away.
        expect(answers.length).toBeGreaterThan(25);
        ({ state } = ended);
        expect(await diff(state, changed)).toBe(false);
        expect(await leftovers()).toBe("4");
    }, 240_000);

    it("while it switches garbage collection off, too", async () => {
        state = (await operations.update("", state, changed)).outs;
        const ended = await killAtEach(state, inputs, 'able --now|stop|rm -rf "[$]units');
        expect(new Set(ended.steps.map(({ command }) => command)).size).toBe(3);
        expect(new Set(ended.steps.map(({ answers }) => answers))).toEqual(new Set(["http"]));
        expect(await diff(ended.state, inputs)).toBe(false);
        expect(await leftovers()).toBe("4");
        await operations.delete("", ended.state);
        expect(await shell(`ls /etc/systemd/system | grep buildfleet; ls -d /etc/buildfleet* /opt/buildfleet*`)).toBe(
            "",
        );
    }, 300_000);
});
