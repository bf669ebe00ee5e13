import { issueCertificate, needsRenewal } from "../../drivers/x509";
import { changedInputs, defineOperations } from "../operations";

interface Inputs {
    authority: { certificate: string; privateKey: string };
    commonName: string;
    usage: "server" | "client";
    dnsNames: string[];
    ipAddresses: string[];
    validDays: number;
    renewBeforeDays: number;
}

interface State extends Inputs {
    certificate: string;
    privateKey: string;
    notAfter: string;
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const issued = await issueCertificate({ ...inputs, days: inputs.validDays });
        const { certificate, privateKey, notAfter } = issued;
        return { id: inputs.commonName, outs: { ...inputs, certificate, privateKey, notAfter } };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["renewBeforeDays"]);
        return needsRenewal(state.certificate, new Date(), inputs.renewBeforeDays) ? [...changed, "notAfter"] : changed;
    },
});
