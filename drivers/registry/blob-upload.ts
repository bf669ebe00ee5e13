import type { Blob } from "../blob-check";
import { badContent, verifyClaim } from "./content";
import { RegistryError } from "./errors";
import { type CallOptions, pull, push, repositoryPath, requireDigest } from "./manifests";
import type { RegistrySession } from "./session";
import { header, resolveLocation, type WireReply } from "./transport";

/** What is sent at a time, in bytes: ECR takes no part larger than 10 MiB, S3 behind a registry none smaller than 5. */
const CHUNK = 8 * 1024 * 1024;
/** Largest answer to an upload's requests, which have none to speak of. */
const SMALL = 64 * 1024;

/**
 * Sends a blob in chunks (OCI distribution specification, "Pushing a blob in chunks"), one under way while the next is
 * filled; a small one goes in one piece. A chunk that was cut off goes on at the byte up to which the registry has it.
 * Holds two chunks in memory at most, however large the blob.
 */
export class BlobUpload {
    #chunk: Buffer | undefined;
    #spare: Buffer | undefined;
    #filled = 0;
    /** Where the chunk that is being filled starts. */
    #start = 0;
    #location: URL | undefined;
    #underWay: Promise<void> = Promise.resolve();

    constructor(
        readonly session: RegistrySession,
        readonly repository: string,
        readonly blob: Blob,
        readonly options: CallOptions = {},
    ) {
        requireDigest(blob.digest);
    }

    /** Takes bytes over; waits where one chunk is under way and the next one full. */
    async write(piece: Buffer): Promise<void> {
        for (let rest = piece; rest.length > 0; ) {
            // The last chunk, full or not, goes with the request that ends the upload.
            if (this.#chunk && this.#filled === this.#chunk.length) await this.#flush();
            this.#chunk ??= this.#take();
            const copied = rest.copy(this.#chunk, this.#filled);
            this.#filled += copied;
            rest = rest.subarray(copied);
        }
    }

    /** Sends the rest and ends the upload; the registry compares the digest, and here it is compared with what it says. */
    async finish(): Promise<void> {
        await this.#underWay;
        await this.#send(this.#chunk?.subarray(0, this.#filled) ?? Buffer.alloc(0), this.#start, true);
    }

    /** Takes back what was sent so far. */
    async abort(): Promise<void> {
        await this.#underWay.catch(() => undefined);
        if (!this.#location) return;
        // The registry purges what is left of it: the failure that led here is the one to tell.
        await this.#request("DELETE", this.#location, [200, 202, 204]).catch((error: unknown) => {
            if (!(error instanceof RegistryError)) throw error;
        });
    }

    #take(): Buffer {
        const chunk = this.#spare ?? Buffer.allocUnsafeSlow(Math.min(CHUNK, Math.max(1, this.blob.size)));
        this.#spare = undefined;
        return chunk;
    }

    async #flush(): Promise<void> {
        await this.#underWay;
        const full = this.#chunk as Buffer;
        this.#underWay = this.#send(full, this.#start, false).then(() => {
            this.#spare = full;
        });
        // Whoever waits for it next tells its failure.
        this.#underWay.catch(() => undefined);
        this.#start += full.length;
        this.#filled = 0;
        this.#chunk = undefined;
    }

    #send(chunk: Buffer, start: number, last: boolean): Promise<void> {
        let again = false;
        return this.session.retrying(this.options.signal, async () => {
            if (again && last && (await this.#isStored())) return;
            const from = again ? await this.#arrived(start, chunk.length) : start;
            again = true;
            if (from === start + chunk.length && !last) return;
            this.#location ??= await this.#open();
            const reply = await this.#sendPart(chunk.subarray(from - start), from, last);
            if (last) verifyClaim(reply, "PUT", this.blob.digest, "the registry stored other content than was sent");
            else this.#location = locationOf(reply, "PATCH");
        });
    }

    #sendPart(part: Buffer, from: number, last: boolean): Promise<WireReply> {
        const range = part.length > 0 && !(last && from === 0) ? `${from}-${from + part.length - 1}` : undefined;
        const headers = { "content-type": "application/octet-stream", ...(range && { "content-range": range }) };
        const location = this.#location as URL;
        if (!last) return this.#request("PATCH", location, [202], { headers, body: part });
        // Appended as text: what stands there may be signed, and must not be encoded anew.
        const digest = `digest=${encodeURIComponent(this.blob.digest)}`;
        const target = new URL(`${location.href}${location.search ? "&" : "?"}${digest}`);
        return this.#request("PUT", target, [201], { headers, body: part });
    }

    /** After a failure: up to which byte the registry has it. */
    async #arrived(start: number, length: number): Promise<number> {
        if (!this.#location) return start;
        const reply = await this.#request("GET", this.#location, [200, 204, 404]);
        if (reply.status === 404 && start === 0) {
            this.#location = undefined;
            return start;
        }
        const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(header(reply.headers, "range") ?? "")?.[1] ?? Number.NaN);
        // "0-0" stands for nothing at all.
        const arrived = end === 0 ? 0 : end + 1;
        if (!(arrived >= start && arrived <= start + length))
            throw badContent(reply, "GET", "the registry no longer has what was sent of a blob").with({
                registryCode: "BLOB_UPLOAD_UNKNOWN",
                next: "run again",
            });
        if (reply.headers.location !== undefined) this.#location = locationOf(reply, "GET");
        return arrived;
    }

    async #isStored(): Promise<boolean> {
        const target = `${repositoryPath(this.repository)}/blobs/${this.blob.digest}`;
        const reply = await this.#request("HEAD", target, [200, 404]);
        return reply.status === 200;
    }

    async #open(): Promise<URL> {
        const reply = await this.#request("POST", `${repositoryPath(this.repository)}/blobs/uploads/`, [202]);
        return locationOf(reply, "POST");
    }

    #request(
        method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE",
        target: URL | string,
        expect: number[],
        content: { headers?: Record<string, string>; body?: Buffer } = {},
    ): Promise<WireReply> {
        const scopes = method === "HEAD" ? pull(this.repository) : push(this.repository);
        const { signal } = this.options;
        return this.session.attempt({ method, target, expect, limit: SMALL, scopes, signal, ...content });
    }
}

function locationOf(reply: WireReply, method: string): URL {
    return resolveLocation(header(reply.headers, "location"), method, reply.url);
}
