import type { EcrAccess } from "../../core/registry-connection";
import { ecrLogin, isHalfUsed } from "../../drivers/aws/ecr";
import { login, loginStatus, logout } from "../../drivers/docker-login";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    /** `123456789012.dkr.ecr.eu-central-1.amazonaws.com` */
    registry: string;
    ecr: EcrAccess;
}

interface State extends Inputs {
    /** When the token was made, ISO 8601; the token itself is in Docker's configuration alone. */
    madeAt: string;
}

/** What has come of the entry on this machine, whichever stack made it. */
async function isGood(registry: string): Promise<boolean> {
    const status = await loginStatus(registry);
    if (typeof status === "string") return status === "managed";
    return !isHalfUsed(status, Date.now());
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["registry"],
    async create(inputs) {
        const made = await ecrLogin(inputs.ecr);
        await login(inputs.registry, made);
        return { id: inputs.registry, outs: { ...inputs, madeAt: new Date(made.madeAt).toISOString() } };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs);
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        return (await isGood(inputs.registry)) ? [] : ["madeAt"];
    },
    async delete(state) {
        await logout(state.registry);
    },
});
