import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Inputs, operations } from "../../resources/buildkit-release/operations";
import { type Fault, type FaultServer, startFaultServer } from "../support/fault-server";

let github: FaultServer;
let token: string | undefined;

const digest = (architecture: string) => `sha256:${(architecture === "arm64" ? "a" : "b").repeat(64)}`;
const file = (architecture: string, version = "0.33.1", stated: string | null = digest(architecture)) => ({
    name: `buildkit-v${version}.linux-${architecture}.tar.gz`,
    browser_download_url: `https://example.com/v${version}/buildkit-v${version}.linux-${architecture}.tar.gz`,
    digest: stated,
});

/** Answers as GitHub's API does. */
const release =
    (assets: object[], status = 200, headers: Record<string, string> = {}): Fault =>
    (_request, response) => {
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(JSON.stringify({ assets }));
        return undefined;
    };

beforeAll(async () => {
    github = await startFaultServer();
});
afterAll(() => github?.stop());
beforeEach(() => {
    token = process.env.GITHUB_TOKEN;
    delete process.env.GITHUB_TOKEN;
    github.setFault(release([file("amd64"), file("arm64"), { name: "buildkit-v0.33.1.provenance.json" }]));
});
afterEach(() => {
    if (token === undefined) delete process.env.GITHUB_TOKEN;
    else process.env.GITHUB_TOKEN = token;
});

const inputs = (more: Partial<Inputs> = {}): Inputs => ({
    version: "0.33.1",
    architectures: ["arm64"],
    apiUrl: `http://${github.address}`,
    ...more,
});
const create = async (more: Partial<Inputs> = {}) => (await operations.create(inputs(more))).outs;

describe("a release of BuildKit", () => {
    it("is the files of the architectures asked for, with the digests that GitHub states", async () => {
        const { artifacts } = await create();
        expect(artifacts).toEqual({
            arm64: {
                url: "https://example.com/v0.33.1/buildkit-v0.33.1.linux-arm64.tar.gz",
                sha256: "a".repeat(64),
            },
        });
        expect(github.seen.map(({ url }) => url)).toEqual(["/repos/moby/buildkit/releases/tags/v0.33.1"]);
        expect(github.seen[0]?.headers).not.toHaveProperty("authorization");
        expect((await create({ version: "v0.33.1" })).artifacts).toEqual(artifacts);
    });

    it("stays what it was when GitHub says something else later; a new architecture is added to it", async () => {
        const state = await create();
        github.setFault(release([file("amd64"), file("arm64", "0.33.1", `sha256:${"f".repeat(64)}`)]));
        expect((await operations.diff("", state, inputs({ apiUrl: "https://mirror.example.com" }))).changes).toBe(
            false,
        );
        expect(github.seen).toEqual([]);
        const both = inputs({ architectures: ["amd64", "arm64"] });
        expect((await operations.diff("", state, both)).changes).toBe(true);
        const { outs } = await operations.update("", state, both);
        expect(outs.artifacts.arm64).toEqual(state.artifacts.arm64);
        expect(outs.artifacts.amd64?.sha256).toBe("b".repeat(64));
    });

    it("is read again for another version", async () => {
        const state = await create();
        github.setFault(release([file("arm64", "0.34.0", `sha256:${"c".repeat(64)}`)]));
        const news = inputs({ version: "0.34.0" });
        expect((await operations.diff("", state, news)).changes).toBe(true);
        expect((await operations.update("", state, news)).outs.artifacts.arm64?.sha256).toBe("c".repeat(64));
    });

    it("is asked for with GITHUB_TOKEN where it is set, which no error shows", async () => {
        process.env.GITHUB_TOKEN = "ghp_secret";
        await create();
        expect(github.seen[0]?.headers.authorization).toBe("Bearer ghp_secret");
        github.setFault(release([], 401));
        const error = await create().catch((thrown: Error) => thrown.message);
        expect(error).toMatch(/GITHUB_TOKEN is not accepted\nnext: renew or unset it, or set buildkit\.artifacts/);
        expect(error).not.toContain("ghp_secret");
    });
});

describe("where GitHub does not tell", () => {
    const reset = String(Date.UTC(2026, 10, 22, 12) / 1000);
    it.each<[string, Fault, RegExp]>([
        [
            "there is no such release",
            release([], 404),
            /moby\/buildkit has no release v0\.33\.1\nnext: correct the version, or set buildkit\.artifacts to/,
        ],
        [
            "the release has no such file",
            release([file("amd64")]),
            /no file buildkit-v0\.33\.1\.linux-arm64\.tar\.gz\nnext: set buildkit\.artifacts\.arm64 to/,
        ],
        [
            "the file has no digest",
            release([file("arm64", "0.33.1", null)]),
            /states no digest for buildkit-v0\.33\.1\.linux-arm64.*\nnext: set buildkit\.artifacts\.arm64 .* checked/,
        ],
        [
            "the digest is no SHA-256",
            release([file("arm64", "0.33.1", "md5:abc")]),
            /the digest md5:abc, which is no SHA-256\nnext: set buildkit\.artifacts\.arm64/,
        ],
        [
            "the hour's requests are used up",
            release([], 403, { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset }),
            /no more requests until 2026-11-22T12:00:00\.000Z\nnext: run again then, set GITHUB_TOKEN .*buildkit\.art/,
        ],
        [
            "a second limit is hit",
            release([], 429, { "retry-after": "60" }),
            /takes no more requests\nnext: .*buildkit\.artifacts/,
        ],
        ["it fails", release([], 502), /HTTP 502\nnext: run again later, or set buildkit\.artifacts/],
        [
            "the answer is something else",
            (_request, response) => void response.end("<html>proxy</html>"),
            /the answer is no release\nnext: is apiUrl GitHub's API\? else set buildkit\.artifacts/,
        ],
        [
            "the connection breaks",
            (_request, response) => void response.destroy(),
            /GET http:.*\nnext: is there a way from here to that host\? else set buildkit\.artifacts/,
        ],
    ])("because %s, the error says what to set instead", async (_case, fault, text) => {
        github.setFault(fault);
        await expect(create()).rejects.toThrow(text);
    });
});
