import { withLocks } from "../lock";
import { CommandError } from "../process";

/** Default for `maxAgeDays`, the age at which grype itself stops trusting its database. */
export const DEFAULT_MAX_AGE_DAYS = 5;

const DAY_MS = 86_400_000;

/** A vulnerability database that is not there, or too old to say that an image is clean. */
export class DatabaseError extends Error {
    override readonly name = "DatabaseError";

    constructor(
        readonly scanner: string,
        problem: string,
        readonly next: string,
        cause?: Error,
    ) {
        const said = cause instanceof CommandError ? cause.lastLines : cause ? [cause.message] : [];
        super([`${scanner}: ${problem}`, ...said.map((line) => `  | ${line}`), `next: ${next}`].join("\n"), { cause });
    }
}

/**
 * Refuses a database that is too old.
 *
 * @param built ISO 8601, as the scanner reports it.
 * @param refreshFailure why it could not be brought up to date, for the message.
 * @throws DatabaseError
 */
export function requireFresh(
    scanner: string,
    built: string,
    limits: { maxAgeDays: number; now: Date },
    next: string,
    refreshFailure?: Error,
): void {
    const ageDays = (limits.now.getTime() - Date.parse(built)) / DAY_MS;
    if (!(ageDays <= limits.maxAgeDays)) {
        const age = `built on ${built.slice(0, 10)}, ${Math.floor(ageDays)} days ago`;
        const problem = `its vulnerability database is too old: ${age}, at most ${limits.maxAgeDays} are accepted`;
        throw new DatabaseError(scanner, problem, next, refreshFailure);
    }
}

const HOUR_MS = 3_600_000;
const underWay = new Map<string, Promise<Error | undefined>>();
const refreshedAt = new Map<string, number>();

/**
 * Brings a scanner's database up to date: once for all scans that ask at the same time and at most once an hour in this
 * process, and one process after the other, since the scanners replace their database in place.
 *
 * @returns why it could not be done. That alone refuses nothing: the database there may still be fresh enough.
 */
export function refreshDatabase(scanner: string, update: () => Promise<unknown>): Promise<Error | undefined> {
    if (Date.now() - (refreshedAt.get(scanner) ?? 0) < HOUR_MS) return Promise.resolve(undefined);
    const running = underWay.get(scanner) ?? refresh(scanner, update).finally(() => underWay.delete(scanner));
    underWay.set(scanner, running);
    return running;
}

async function refresh(scanner: string, update: () => Promise<unknown>): Promise<Error | undefined> {
    try {
        await withLocks([`${scanner} database`], update);
        refreshedAt.set(scanner, Date.now());
        return undefined;
    } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
    }
}
