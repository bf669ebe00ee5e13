import { describeCertificate, issueCertificate, needsRenewal } from "../../drivers/x509";
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

/** Whether another one is needed. One that lasts as long as its authority is not: a new one would end at the same moment. */
function isRenewable({ certificate }: State, { authority, renewBeforeDays }: Inputs, now: Date): boolean {
    if (needsRenewal(certificate, now, 0)) return true;
    const endOf = (pem: string) => Date.parse(describeCertificate(pem).notAfter);
    return needsRenewal(certificate, now, renewBeforeDays) && endOf(certificate) < endOf(authority.certificate);
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const issued = await issueCertificate({ ...inputs, days: inputs.validDays });
        const { certificate, privateKey, notAfter } = issued;
        return { id: inputs.commonName, outs: { ...inputs, certificate, privateKey, notAfter } };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["renewBeforeDays"]);
        if (changed.length > 0) return changed;
        return isRenewable(state, inputs, new Date()) ? ["notAfter"] : [];
    },
});
