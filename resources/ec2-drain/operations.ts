import {
    awaitState,
    describeMachine,
    ignoring,
    isGone,
    StateTimeoutError,
    stopMachine,
    tagMachine,
} from "../../drivers/aws/ec2";
import { progress, whileWorking } from "../../drivers/progress";
import { changedInputs, defineOperations } from "../operations";

export interface Inputs {
    region: string;
    instanceId: string;
    timeoutSeconds: number;
    /** Not in the states of earlier versions: then both. */
    on?: "change" | "delete";
}

interface State extends Inputs {
    forced: boolean;
}

/** Read by the watcher on the instance (core/host/files), from its metadata. */
const DRAIN_TAG = "buildfleet:drain";
const STOP_MS = 600_000;

/**
 * Asks an instance to let its builds end and to switch itself off, and waits until it is off.
 *
 * @returns whether it had to be stopped because that took too long.
 */
async function drain({ region, instanceId, timeoutSeconds }: Inputs): Promise<boolean> {
    const off = ["stopped", "shutting-down", "terminated", "gone"] as const;
    const { state } = await describeMachine(region, instanceId);
    if (state === "gone") {
        const next = "where it is another account's, run with the credentials that the AWS provider has";
        progress(`${instanceId} is not known in ${region} to the account of this run: nothing to drain; ${next}`, true);
    }
    if (state === "stopped" || isGone({ state })) return false;
    await tagMachine(region, instanceId, { [DRAIN_TAG]: "true" }).catch(ignoring("InvalidInstanceID.NotFound"));
    progress(`draining ${instanceId}: no new builds; waiting for those that run`, true);
    const wait = (ms: number) =>
        whileWorking(
            () => `draining ${instanceId}`,
            () => awaitState(region, instanceId, [...off], ms),
        );
    try {
        await wait(timeoutSeconds * 1000);
        return false;
    } catch (error) {
        if (!(error instanceof StateTimeoutError)) throw error;
    }
    progress(
        `${instanceId} did not drain within ${timeoutSeconds} s; stopping it, builds that still run are cut off`,
        true,
    );
    await stopMachine(region, instanceId);
    await wait(STOP_MS);
    return true;
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: [],
    async create(inputs) {
        return { id: inputs.instanceId, outs: { ...inputs, forced: false } };
    },
    async changes(known, inputs) {
        // A change brings its own time-out; a delete knows only what is in the state.
        return changedInputs(known, inputs, inputs.on === "delete" ? [] : ["timeoutSeconds"]);
    },
    async update(known, inputs) {
        const isOther = known.instanceId !== inputs.instanceId || known.region !== inputs.region;
        // The instance before is the concern of the one that drains on changes.
        const forced =
            isOther && inputs.on !== "delete"
                ? await drain({ ...known, timeoutSeconds: inputs.timeoutSeconds })
                : known.forced;
        return { ...inputs, forced };
    },
    async delete(known) {
        if (known.on !== "change") await drain(known);
    },
});
