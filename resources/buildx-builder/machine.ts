import { setTimeout as delay } from "node:timers/promises";
import type { DockerHostSettings } from "../../core/docker-host-settings";
import { describeMachine, isGone, type Machine, startMachine } from "../../drivers/aws/ec2";
import { AwsError } from "../../drivers/aws/errors";
import { openTunnel } from "../../drivers/aws/session-manager";
import { TunnelError } from "../../drivers/aws/session-manager-plugin";
import { canBeStranded, isForWantOfCapacity, strand, unstrand } from "../../drivers/aws/spot";
import { type BuildkitInfo, probe } from "../../drivers/buildkit";
import type { ClientCertificate } from "../../drivers/buildx";
import { progress, whileWorking } from "../../drivers/progress";

/** A node's machine on EC2; see `Ec2Machine` in index.ts. */
export interface Ec2 {
    instanceId: string;
    region: string;
    wakeTimeoutSeconds?: number;
    tunnel?: boolean;
}

export interface Node {
    name: string;
    endpoint: string;
    /** Absent where it is to be asked. */
    platforms?: string[];
    serverName?: string;
    ec2?: Ec2;
    maxBuilds?: number;
    /** The endpoint is a Docker daemon's; see docker.ts. */
    docker?: DockerHostSettings;
}

/** A node whose machine is on EC2. */
export type Ec2Node = Node & { ec2: Ec2 };

const WAKE_SECONDS = 180;
/** A machine that was started so often, and stopped again each time, has something that stops it. */
const STARTS = 2;
const PROBE_MS = 2_000;
const ASK_EC2_EVERY_MS = 3_000;

const wakeMs = ({ ec2 }: Ec2Node) => (ec2.wakeTimeoutSeconds ?? WAKE_SECONDS) * 1000;
export const toText = (error: unknown) => (error instanceof Error ? error.message : String(error));
const nameOf = ({ name, ec2 }: Ec2Node) => `builder node ${name} (${ec2.instanceId})`;

/** Where BuildKit is reached: the node's endpoint, or a tunnel's end on this machine, which is opened if need be. */
export function reach(node: Node): Promise<string> {
    if (!node.ec2?.tunnel) return Promise.resolve(node.endpoint);
    const { region, instanceId } = node.ec2;
    return openTunnel({ region, instanceId, port: Number(new URL(node.endpoint).port) });
}

/** What is to be done about a machine whose BuildKit does not answer. */
export type Look =
    /** It can be woken, or is starting up; doubtful where it runs, and has done so for long enough to answer. */
    | { asleep: true; doubtful: boolean; machine: Machine }
    /** It is no more. */
    | { asleep: false; machine: Machine; problem: string };

/** Looks at the machine; changes nothing. */
export async function look(node: Ec2Node): Promise<Look> {
    const { region, instanceId } = node.ec2;
    const machine = await describeMachine(region, instanceId);
    const since = machine.reason ? ` (${machine.reason})` : "";
    if (isGone(machine))
        return {
            asleep: false,
            machine,
            problem: `its instance ${instanceId} in ${region} is ${machine.state}${since}; run refresh, so that it is made anew`,
        };
    const age = Date.now() - (machine.startedAt?.getTime() ?? 0);
    return { asleep: true, doubtful: machine.state === "running" && age >= wakeMs(node), machine };
}

const consoleOf = ({ ec2: { region, instanceId } }: Ec2Node) =>
    `look at its console (aws ec2 get-console-output --latest --region ${region} --instance-id ${instanceId}) ` +
    "and at the way to it (security group, route)";

/** A machine that answers. */
export interface Awake {
    endpoint: string;
    info: BuildkitInfo;
}

const waking = new Map<string, Promise<Awake>>();

/**
 * Starts a node's machine, or waits for whoever has started it, until its BuildKit answers. One that runs for long is waited
 * for, too: its BuildKit may have ended for new certificates, or have got its volume only now. One wait for all who ask at
 * the same time.
 *
 * @throws Error with the state, how long it was waited for and what to look at, when it does not answer in time or can't be
 *   started.
 */
export function wake(node: Ec2Node, tls: ClientCertificate | undefined): Promise<Awake> {
    const key = `${node.ec2.region}/${node.ec2.instanceId}`;
    let answer = waking.get(key);
    if (!answer) {
        answer = wakeNow(node, tls).finally(() => waking.delete(key));
        waking.set(key, answer);
    }
    return answer;
}

async function wakeNow(node: Ec2Node, tls: ClientCertificate | undefined): Promise<Awake> {
    const started = Date.now();
    const attempt = new Attempt(node, tls, started + wakeMs(node));
    const awake = await whileWorking(
        () => `${nameOf(node)} ${attempt.state}`,
        () => attempt.run(),
    );
    progress(`${nameOf(node)} answers after ${((Date.now() - started) / 1000).toFixed(1)} s`, true);
    return awake;
}

/** One wait for one machine. */
class Attempt {
    /** In words, for progress and for the error. */
    state = "is looked at";
    private starts = 0;
    private lastAnswer = "";
    /** What EC2 said where the instance's Spot request does not let it be started: AWS stopped it itself, or it stopped just now. */
    private refused: AwsError | undefined;

    constructor(
        private readonly node: Ec2Node,
        private readonly tls: ClientCertificate | undefined,
        private readonly deadline: number,
    ) {}

    async run(): Promise<Awake> {
        const { region, instanceId } = this.node.ec2;
        for (;;) {
            const machine = await describeMachine(region, instanceId);
            const why = machine.reason ? ` (${machine.reason})` : "";
            this.state = `is ${machine.state}`;
            if (isGone(machine)) throw new Error(`its instance ${instanceId} is ${machine.state}${why}`);
            if (machine.state === "running") {
                const awake = await this.listen(machine);
                if (awake) {
                    await this.unstrand(machine);
                    return awake;
                }
            } else if (machine.state === "stopped") {
                if (this.starts === STARTS) {
                    const reason = `its instance ${instanceId} was started ${STARTS} times and is stopped again${why}; ${consoleOf(this.node)}`;
                    throw isForWantOfCapacity(machine.reason)
                        ? await this.stranded(machine, reason)
                        : new Error(reason);
                }
                await this.start(machine);
                if (this.refused && Date.now() >= this.deadline)
                    throw await this.stranded(machine, this.refused.reason, this.refused);
            }
            if (Date.now() >= this.deadline) throw this.late();
            if (machine.state !== "running") await delay(1_000);
        }
    }

    private async start(machine: Machine): Promise<void> {
        const { region, instanceId } = this.node.ec2;
        if (!this.refused) progress(`${nameOf(this.node)} is stopped; starting it`, true);
        try {
            await startMachine(region, instanceId);
            this.starts += 1;
            this.refused = undefined;
        } catch (error) {
            if (!(error instanceof AwsError)) throw error;
            if (error.code === "CAPACITY") throw await this.stranded(machine, error.reason, error);
            if (error.awsCode !== "IncorrectSpotRequestState") throw error;
            this.refused = error;
        }
    }

    /** What to throw where AWS has no capacity to start it; noted on the instance where its resource has a way on. */
    private async stranded(machine: Machine, reason: string, cause?: AwsError): Promise<Error> {
        if (!canBeStranded(machine)) return cause ?? new Error(reason);
        const { region } = this.node.ec2;
        let next =
            'the next "pulumi up" of the fleet launches another machine where its group says fallback: "on-demand", ' +
            "on demand unless there is Spot capacity again; otherwise run again later";
        await strand(region, machine).catch((error) => {
            next = `run again later; that the group's fallback is needed could not be noted on the instance: ${toText(error)}`;
        });
        return new AwsError("CAPACITY", "ec2:StartInstances", region, reason, next, cause?.awsCode);
    }

    private async unstrand(machine: Machine): Promise<void> {
        await unstrand(this.node.ec2.region, machine).catch((error) =>
            // It answers all the same. With the note it may be replaced once it is stopped.
            progress(`${nameOf(this.node)}: its note that there is no capacity stays: ${toText(error)}`, true),
        );
    }

    /** Knocks for a while: EC2 need not be asked each time whether the machine still runs. */
    private async listen({ startedAt }: Machine): Promise<Awake | undefined> {
        const until = Math.min(Date.now() + ASK_EC2_EVERY_MS, this.deadline);
        this.state = `runs since ${startedAt?.toISOString()}, BuildKit does not answer yet`;
        do {
            try {
                const endpoint = await reach(this.node);
                const tls = this.tls ? { ...this.tls, serverName: this.node.serverName } : undefined;
                return { endpoint, info: await probe({ endpoint, tls }, PROBE_MS) };
            } catch (error) {
                if (error instanceof TunnelError && !error.notConnected) throw error;
                this.lastAnswer = toText(error).split("\n")[0] ?? "";
            }
            await delay(500);
        } while (Date.now() < until);
        return undefined;
    }

    private late(): Error {
        const seconds = Math.round(wakeMs(this.node) / 1000);
        const answer = this.lastAnswer ? `, last answer: ${this.lastAnswer}` : "";
        return new Error(
            `did not answer within ${seconds} s: instance ${this.node.ec2.instanceId} in ${this.node.ec2.region} ${this.state}${answer}; ` +
                `${consoleOf(this.node)}, or raise wakeTimeoutSeconds`,
        );
    }
}
