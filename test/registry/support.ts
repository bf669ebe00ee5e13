import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import {
    anonymous,
    type Clock,
    RegistryClient,
    type RegistryClientOptions,
    RegistryError,
} from "../../drivers/registry";
import { answerError, type Fault } from "../support/fault-server";

/** A clock that sleeps no time at all and notes how long it should have. */
export function fakeClock(): Clock & { slept: number[]; advance(ms: number): void } {
    let now = Date.UTC(2026, 0, 1);
    const slept: number[] = [];
    return {
        slept,
        advance: (ms) => {
            now += ms;
        },
        now: () => now,
        random: () => 0.5,
        sleep: async (ms, signal) => {
            signal?.throwIfAborted();
            slept.push(ms);
            now += ms;
        },
    };
}

export function plainClient(registry: string, options: Partial<RegistryClientOptions> = {}): RegistryClient {
    return new RegistryClient({ registry, plainHttp: true, credentials: anonymous, clock: fakeClock(), ...options });
}

/** The RegistryError that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<RegistryError> {
    const outcome = await promise.then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
    );
    if ("value" in outcome) throw new Error(`expected an error, got ${JSON.stringify(outcome.value)}`);
    if (outcome.error instanceof RegistryError) return outcome.error;
    throw outcome.error;
}

/** Pushes a minimal image, told apart by `text`. */
export async function pushImage(client: RegistryClient, repository: string, ref: string | undefined, text: string) {
    const config = await client.putBlob(
        repository,
        Buffer.from(JSON.stringify({ text })),
        "application/vnd.oci.image.config.v1+json",
    );
    const bytes = imageManifest(config);
    const digest = sha256(bytes);
    await client.putManifest(repository, ref ?? digest, mediaTypes.ociManifest, bytes);
    return { digest, bytes, config };
}

export function imageManifest(config: object, extra: object = {}): Buffer {
    return Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [], ...extra }),
    );
}

/** Fails the first `times` of each method and path, then passes. */
export const first =
    (times: number, fault: Fault): Fault =>
    (request, response, count) =>
        count <= times ? fault(request, response, count) : "pass";
export const always =
    (status: number, code: string, headers = {}): Fault =>
    (_request, response) =>
        answerError(response, status, code, headers);
