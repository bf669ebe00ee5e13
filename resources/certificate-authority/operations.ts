import { bundle, createAuthority, needsRenewal } from "../../drivers/x509";
import { changedInputs, defineOperations } from "../operations";

interface Inputs {
    commonName: string;
    validDays: number;
    renewBeforeDays: number;
}

interface State extends Inputs {
    certificate: string;
    privateKey: string;
    /** The certificate, and the one before it while that is valid: who trusts this trusts both sides of a renewal. */
    trustBundle: string;
    notAfter: string;
}

async function issue(inputs: Inputs, previous: string[]): Promise<State> {
    const authority = await createAuthority({ name: inputs.commonName, days: inputs.validDays });
    return {
        ...inputs,
        certificate: authority.certificate,
        privateKey: authority.privateKey,
        trustBundle: bundle([authority.certificate, ...previous]),
        notAfter: authority.notAfter,
    };
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        return { id: inputs.commonName, outs: await issue(inputs, []) };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["renewBeforeDays"]);
        return needsRenewal(state.certificate, new Date(), inputs.renewBeforeDays) ? [...changed, "notAfter"] : changed;
    },
    async update(state, inputs) {
        const stillValid = Date.parse(state.notAfter) > Date.now();
        return issue(inputs, stillValid ? [state.certificate] : []);
    },
});
