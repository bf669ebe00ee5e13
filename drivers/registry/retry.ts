import { RegistryError } from "./errors";

/** Time as the driver sees it; a test puts its own in. */
export interface Clock {
    /** Milliseconds since the epoch. */
    now(): number;
    /** @throws the signal's reason as soon as it aborts. */
    sleep(ms: number, signal?: AbortSignal): Promise<void>;
    /** 0 (inclusive) to 1 (exclusive). */
    random(): number;
}

/** How often and how long a failed request is tried again. All times in milliseconds. */
export interface RetryPolicy {
    /** Attempts in all. Default 4. */
    attempts: number;
    /** Longest first pause; doubles with each attempt. Default 250. */
    baseDelayMs: number;
    /** Longest pause, also where the server asks for more with `Retry-After`. Default 20 s. */
    maxDelayMs: number;
    /** After this no new attempt begins. Default 2 minutes. */
    deadlineMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 4, baseDelayMs: 250, maxDelayMs: 20_000, deadlineMs: 120_000 };

export const systemClock: Clock = {
    now: () => Date.now(),
    random: () => Math.random(),
    sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
            signal?.throwIfAborted();
            const onAbort = () => {
                clearTimeout(timer);
                reject(signal?.reason);
            };
            const timer = setTimeout(() => {
                signal?.removeEventListener("abort", onAbort);
                resolve();
            }, ms);
            signal?.addEventListener("abort", onAbort, { once: true });
        }),
};

/** `Retry-After` (RFC 9110, 10.2.3): seconds or an HTTP date, as milliseconds from now; undefined when it is neither. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
    const text = value?.trim();
    if (!text) return undefined;
    if (/^\d+$/.test(text)) return Number(text) * 1000;
    const date = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN;
    return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * Runs `operation` until it succeeds, fails for good, or attempts or time run out. It must be idempotent as a whole.
 * Pauses grow exponentially with full jitter; a server's `Retry-After` is a lower bound, up to `maxDelayMs`.
 *
 * @throws the last error, which then says how often and how long it was tried.
 */
export async function retrying<T>(
    policy: RetryPolicy,
    clock: Clock,
    signal: AbortSignal | undefined,
    operation: () => Promise<T>,
): Promise<T> {
    const started = clock.now();
    for (let attempt = 1; ; attempt++) {
        signal?.throwIfAborted();
        try {
            return await operation();
        } catch (error) {
            if (!(error instanceof RegistryError) || !error.retryable) throw error;
            const backoff = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (attempt - 1)) * clock.random();
            const pause = Math.min(policy.maxDelayMs, Math.max(backoff, error.retryAfterMs ?? 0));
            const elapsed = clock.now() - started;
            if (attempt >= policy.attempts || elapsed + pause > policy.deadlineMs) {
                const times = attempt === 1 ? "1 attempt" : `${attempt} attempts`;
                throw error.with({
                    reason: `${error.reason} (gave up after ${times} in ${(elapsed / 1000).toFixed(1)} s)`,
                    retryable: false,
                });
            }
            await clock.sleep(pause, signal);
        }
    }
}
