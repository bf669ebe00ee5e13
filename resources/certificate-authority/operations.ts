import { bundle, createAuthority, describeCertificate, needsRenewal } from "../../drivers/x509";
import { changedInputs, defineOperations, type Failure, isUnknown } from "../operations";

interface Inputs {
    commonName: string;
    validDays: number;
    renewBeforeDays: number;
    overlapDays?: number;
}

interface Signer {
    certificate: string;
    privateKey: string;
}

interface State extends Inputs, Signer {
    /** Oldest first: the one before while it is valid, this one, and the next. Who signs next changes nothing in it. */
    trustBundle: string;
    notAfter: string;
    /** Trusted since then, and does not sign yet. A state without it has none coming; one of an older version never has it. */
    next?: Signer & { publishedAt: string };
    /** PEM of what signed before. Absent before the first renewal; what there was then is in the bundle. */
    previous?: string;
}

type Line = Pick<State, "next" | "previous"> & { current: Signer };

const DAY_MS = 86_400_000;
const OVERLAP_DAYS = 30;
/**
 * An overlap shorter than this helps nobody: a node on EC2 looks every 5 minutes, then lets builds end for 2 hours at most, and every
 * node has to do that once.
 */
const SHORTEST_OVERLAP_MS = 3 * 3_600_000;

const endOf = ({ certificate }: Signer) => Date.parse(describeCertificate(certificate).notAfter);

/** Too little is left of it for an overlap that ends with half of it to spare. */
const isSpent = (signer: Signer, now: Date) => endOf(signer) - now.getTime() < 2 * SHORTEST_OVERLAP_MS;

/** Whether what was published has been trusted for long enough to sign: for the overlap, or half of what either had left then. */
function isDue({ current, next }: Line, { overlapDays = OVERLAP_DAYS }: Inputs, now: Date): boolean {
    if (!next) return false;
    const since = Date.parse(next.publishedAt);
    const left = Math.min(endOf(current), endOf(next)) - since;
    return now.getTime() >= since + Math.min(overlapDays * DAY_MS, left / 2);
}

const isRenewable = ({ current, next }: Line, { renewBeforeDays }: Inputs, now: Date) =>
    next === undefined && needsRenewal(current.certificate, now, renewBeforeDays);

/** Who signs, who is to, and who did. An older version's bundle has this one and the one before. */
const lineOf = ({ certificate, privateKey, next, previous, trustBundle }: State): Line => ({
    current: { certificate, privateKey },
    next,
    previous: previous ?? trustBundle,
});

const asked = (state: State, inputs: Inputs) => changedInputs(state, inputs, ["renewBeforeDays", "overlapDays"]);

async function issue({ commonName, validDays }: Inputs): Promise<Signer> {
    const { certificate, privateKey } = await createAuthority({ name: commonName, days: validDays });
    return { certificate, privateKey };
}

function stateOf(inputs: Inputs, { current, next, previous }: Line, now: Date): State {
    const trusted = [previous, current.certificate, next?.certificate].filter((pem) => pem !== undefined);
    return {
        ...inputs,
        ...current,
        trustBundle: bundle(trusted, now),
        notAfter: describeCertificate(current.certificate).notAfter,
        ...(next ? { next } : {}),
        ...(previous === undefined ? {} : { previous }),
    };
}

/** What signed until now stays trusted: some still show its certificates. */
const promoted = ({ current }: Line, { certificate, privateKey }: Signer): Line => ({
    current: { certificate, privateKey },
    previous: current.certificate,
});

/**
 * Another authority, in two steps: first it is trusted, and signs after the overlap, when everybody has learned of it. Where the one that
 * signs ends before that, or the settings want no overlap, it signs at once.
 */
function succeeded(line: Line, made: Signer, { overlapDays = OVERLAP_DAYS }: Inputs, now: Date): Line {
    const isTooLate = isSpent(line.current, now) || isSpent(made, now);
    if (isTooLate || overlapDays * DAY_MS < SHORTEST_OVERLAP_MS) return promoted(line, made);
    return { ...line, next: { ...made, publishedAt: now.toISOString() } };
}

export const operations = defineOperations<Inputs, State>({
    async check({ overlapDays }): Promise<Failure[]> {
        if (overlapDays === undefined || isUnknown(overlapDays) || (Number.isFinite(overlapDays) && overlapDays >= 0))
            return [];
        const reason = `found ${JSON.stringify(overlapDays)}; expected a number of days, 0 or more`;
        return [{ property: "overlapDays", reason }];
    },
    async create(inputs) {
        const line = { current: await issue(inputs) };
        return { id: inputs.commonName, outs: stateOf(inputs, line, new Date()) };
    },
    async changes(state, inputs) {
        const now = new Date();
        const line = lineOf(state);
        const changed = asked(state, inputs);
        if (isDue(line, inputs, now)) changed.push("certificate");
        if (isRenewable(line, inputs, now)) changed.push("trustBundle");
        return changed;
    },
    async update(state, inputs) {
        const now = new Date();
        let line = lineOf(state);
        let isWanted = asked(state, inputs).length > 0;
        if (line.next && isDue(line, inputs, now)) {
            // One that nobody put to use in its time would lock out whom the one that signs still lets in.
            if (isSpent(line.next, now)) isWanted = true;
            else line = promoted(line, line.next);
        }
        if (isWanted || isRenewable(line, inputs, now)) line = succeeded(line, await issue(inputs), inputs, now);
        return stateOf(inputs, line, now);
    },
});
