import { join } from "node:path";
import type { z } from "zod";
import { cpus, memory } from "../docker-host-settings";
import { fields } from "../schema-tables";
import { checkSettings, type Late } from "../settings";
import { parseSize, type Size } from "../size";

/** The most that a daemon and all it starts use together; nothing where there is no limit. */
export interface Limits {
    /** Bytes, swap space included. */
    memory?: number;
    /** CPUs, also parts of one. */
    cpus?: number;
}

/** Microseconds in which CPU time is given out anew; the kernel's own default (Documentation/scheduler/sched-bwc.rst). */
const PERIOD = 100_000;

/**
 * What is put before a command's words so that it runs in a control group of its own.
 *
 * @param group its name: a systemd scope's
 */
export function limitedCommand(group: string, { memory: bytes, cpus: share }: Limits): string[] {
    const time = share === undefined ? "" : `${Math.round(share * 100) * (PERIOD / 100)}`;
    return ["bash", join(__dirname, "files", "enter.sh"), group, `${bytes ?? ""}`, time];
}

/** The limits of each node of a `LocalFleet`, as they are written. */
export interface LimitSettings {
    memory?: Size;
    cpus?: number;
}

const limitSettings = () =>
    fields({
        memory: memory.optional().describe("The most memory that a node and its build steps take together"),
        cpus: cpus.optional().describe("The most CPU time that they take together, in CPUs"),
    });

/** @throws SettingsError with every problem at once. */
export function checkLimits(subject: string, value: unknown): Late<LimitSettings> {
    return checkSettings(subject, limitSettings() as z.ZodType<LimitSettings>, value);
}

/** As the kernel counts them; nothing where none is set. */
export function limitsOf({ memory: size, cpus: share }: LimitSettings): Limits | undefined {
    if (size === undefined && share === undefined) return undefined;
    return {
        ...(size === undefined ? {} : { memory: parseSize(size) }),
        ...(share === undefined ? {} : { cpus: share }),
    };
}
