import { setTimeout as delay } from "node:timers/promises";
import { BuildkitError } from "../../drivers/buildkit";
import { progress, whileWorking } from "../../drivers/progress";

export interface Drain {
    /** What is drained, for messages: `builder node arm-1`. */
    subject: string;
    /** What is to be done then, for messages: `its container is made anew (it was made with other settings)`. */
    purpose: string;
    /** How many builds run in it. */
    count(): Promise<number>;
    /** Whether it runs at all. */
    runs(): Promise<boolean>;
    /** How long the builds may take, in milliseconds; default 600,000. */
    withinMs?: number;
    /** Time between two questions, in milliseconds; default 2,000. */
    everyMs?: number;
}

/** So many failures in a row, none of them a time-out, say that there is no BuildKit any more. */
const GONE = 3;

/**
 * Waits until nobody builds. As a host's own core/host/files/drain.sh does: one that takes long to answer may build more than
 * it can carry, and what runs in there is not given up.
 *
 * @throws Error where builds still run, or it still does not tell, when the time is over.
 */
export async function drained({ subject, purpose, count, runs, ...times }: Drain): Promise<void> {
    const { withinMs = 600_000, everyMs = 2_000 } = times;
    const deadline = Date.now() + withinMs;
    let failures = 0;
    /** Undefined where it did not tell. */
    const ask = async (): Promise<number | undefined> => {
        try {
            const active = await count();
            failures = 0;
            return active;
        } catch (error) {
            if (error instanceof BuildkitError && error.silent) return undefined;
            failures += 1;
            return failures >= GONE || !(await runs()) ? 0 : undefined;
        }
    };
    let active = await ask();
    if (active === 0) return;
    const what = () =>
        `${subject}: ${active === undefined ? "BuildKit to tell whether it builds" : `${active} builds to end`} before ${purpose}`;
    progress(what(), true);
    await whileWorking(what, async () => {
        while (active !== 0) {
            if (Date.now() >= deadline)
                throw new Error(
                    `gave up after ${withinMs / 60_000} minutes of waiting: ${what()}\nnext: run again when its builds are done`,
                );
            await delay(everyMs);
            active = await ask();
        }
    });
}
