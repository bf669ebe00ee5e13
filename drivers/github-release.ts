import { request } from "undici";

/** A file of a release. */
export interface ReleaseFile {
    name: string;
    url: string;
    /** `sha256:…`; files that were uploaded before GitHub computed digests have none. */
    digest: string | undefined;
}

/** GitHub did not tell of a release. */
export class ReleaseError extends Error {
    constructor(
        url: string,
        reason: string,
        next: string,
        readonly status?: number,
    ) {
        super(`GET ${url}: ${reason}\nnext: ${next}`);
        this.name = "ReleaseError";
    }
}

const ANSWER_MS = 20_000;
/** A release of a hundred files is about 200 KiB. */
const LARGEST = 4 * 1024 * 1024;

/**
 * The files of a release, by GitHub's REST API ("Get a release by tag name"). `GITHUB_TOKEN` is sent where it is set, to this
 * host only.
 *
 * @param repository `moby/buildkit`
 * @param otherwise what the user can do instead, for errors.
 * @throws ReleaseError
 */
export async function readRelease(
    apiUrl: string,
    repository: string,
    tag: string,
    otherwise: string,
): Promise<ReleaseFile[]> {
    const url = `${apiUrl.replace(/\/+$/, "")}/repos/${repository}/releases/tags/${encodeURIComponent(tag)}`;
    const token = tokenFor(new URL(url));
    const fail = (reason: string, next: string, status?: number) => new ReleaseError(url, reason, next, status);
    let answer: Awaited<ReturnType<typeof request>>;
    let body: string;
    try {
        answer = await request(url, {
            headers: {
                accept: "application/vnd.github+json",
                "x-github-api-version": "2022-11-28",
                "user-agent": "buildfleet",
                ...(token ? { authorization: `Bearer ${token}` } : {}),
            },
            signal: AbortSignal.timeout(ANSWER_MS),
        });
        body = await readText(answer.body);
    } catch (error) {
        const { name, message, cause } = error as Error;
        const said = name === "TimeoutError" ? `no answer within ${ANSWER_MS / 1000} s` : message || String(cause);
        throw fail(said, `is there a way from here to that host? else ${otherwise}`);
    }
    const { statusCode: status, headers } = answer;
    if (status === 404)
        throw fail(`${repository} has no release ${tag}`, `correct the version, or ${otherwise}`, status);
    if (status === 401) throw fail("GITHUB_TOKEN is not accepted", `renew or unset it, or ${otherwise}`, status);
    if (status === 429 || (status === 403 && (headers["x-ratelimit-remaining"] === "0" || headers["retry-after"]))) {
        const reset = Number(headers["x-ratelimit-reset"]);
        const when = reset > 0 ? ` until ${new Date(reset * 1000).toISOString()}` : "";
        const more = token ? "" : ", set GITHUB_TOKEN (5,000 requests an hour instead of 60)";
        throw fail(`GitHub takes no more requests${when}`, `run again then${more}, or ${otherwise}`, status);
    }
    if (status !== 200) throw fail(`HTTP ${status}`, `run again later, or ${otherwise}`, status);
    return readFiles(body, fail, otherwise);
}

/** Not over plain HTTP, where it could be read on the way. */
function tokenFor({ protocol, hostname }: URL): string | undefined {
    return protocol === "https:" || hostname === "127.0.0.1" ? process.env.GITHUB_TOKEN : undefined;
}

async function readText(stream: AsyncIterable<Buffer>): Promise<string> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of stream) {
        size += chunk.length;
        if (size > LARGEST) throw new Error(`the answer is larger than ${LARGEST} bytes`);
        chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
}

function readFiles(
    body: string,
    fail: (reason: string, next: string) => ReleaseError,
    otherwise: string,
): ReleaseFile[] {
    try {
        const { assets } = JSON.parse(body) as { assets: Record<string, unknown>[] };
        return assets.map(({ name, browser_download_url: url, digest }) => ({
            name: String(name),
            url: String(url),
            digest: typeof digest === "string" ? digest : undefined,
        }));
    } catch {
        throw fail("the answer is no release", `is apiUrl GitHub's API? else ${otherwise}`);
    }
}
