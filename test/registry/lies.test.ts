import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { answerError, type Fault, type FaultServer, startFaultServer } from "../support/fault-server";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { failure, imageManifest, plainClient, pushImage } from "./support";

let real: RunningRegistry;
let proxy: FaultServer;
let image: Awaited<ReturnType<typeof pushImage>>;
beforeAll(async () => {
    real = await startRegistry();
    proxy = await startFaultServer({ upstream: real.registry });
    image = await pushImage(plainClient(real.registry), "app", "1.0", "app");
});
afterAll(async () => {
    await proxy.stop();
    await real.stop();
});
afterEach(() => proxy.setFault(() => "pass"));

const through = (options: object = {}) => plainClient(proxy.address, options);

describe("a registry that lies", () => {
    const other = sha256("other");
    const answer =
        (headers: Record<string, string>, body: Buffer | string): Fault =>
        (_request, response) => {
            response.writeHead(200, headers);
            response.end(body);
            return undefined;
        };
    const typed = { "content-type": mediaTypes.ociManifest };

    it.each(["1.0", "digest"])("about a manifest's digest in the header, asked by %s", async (by) => {
        proxy.setFault(answer({ ...typed, "docker-content-digest": other }, image.bytes));
        const error = await failure(through().getManifest("app", by === "digest" ? image.digest : by));
        expect(error).toMatchObject({ code: "DIGEST_MISMATCH" });
        expect(error.message).toContain(other);
        expect(error.message).toContain(image.digest);
        expect(proxy.seen).toHaveLength(1);
    });

    it("with another manifest's body, its header consistent with the question or with the lie", async () => {
        const forged = imageManifest({ forged: true });
        for (const header of [image.digest, sha256(forged), undefined]) {
            const claim: Record<string, string> = header ? { "docker-content-digest": header } : {};
            proxy.setFault(answer({ ...typed, ...claim }, forged));
            const error = await failure(through().getManifest("app", image.digest));
            expect(error).toMatchObject({ code: "DIGEST_MISMATCH" });
            expect(error.message).toContain(image.digest);
            expect(error.message).toContain(sha256(forged));
        }
    });

    it("with another blob", async () => {
        proxy.setFault(answer({}, "something else"));
        const error = await failure(through().getBlob("app", image.config.digest));
        expect(error).toMatchObject({ code: "DIGEST_MISMATCH" });
        expect(error.message).toContain(sha256("something else"));
    });

    it("about what is there", async () => {
        proxy.setFault(answer({ ...typed, "docker-content-digest": other, "content-length": "10" }, ""));
        expect(await failure(through().headManifest("app", image.digest))).toMatchObject({ code: "DIGEST_MISMATCH" });
        expect(await failure(through().headBlob("app", image.digest))).toMatchObject({ code: "DIGEST_MISMATCH" });
        expect(await failure(through().putBlob("app", image.bytes))).toMatchObject({ code: "DIGEST_MISMATCH" });
        proxy.setFault(answer({ ...typed, "docker-content-digest": "sha256:short" }, ""));
        expect(await failure(through().headManifest("app", "1.0"))).toMatchObject({ code: "BAD_CONTENT" });
    });

    it("about what it stored", async () => {
        proxy.setFault(({ method, url }, response) => {
            if (method === "HEAD") return answerError(response, 404, "BLOB_UNKNOWN");
            response.writeHead(method === "POST" && !url.includes("mount=") ? 202 : 201, {
                location: "/v2/app/blobs/uploads/1?_state=x",
                "docker-content-digest": other,
            });
            response.end();
            return undefined;
        });
        const stored = [
            () => through().putManifest("app", "2.0", mediaTypes.ociManifest, image.bytes),
            () => through().putBlob("app", Buffer.from("new")),
            () => through().mountBlob("app", image.digest, "from"),
        ];
        for (const call of stored) {
            const error = await failure(call());
            expect(error).toMatchObject({ code: "DIGEST_MISMATCH" });
            expect(error.message).toContain(other);
        }
    });

    it("does not count 200 or 202 as a manifest that was stored", async () => {
        for (const status of [200, 202, 204]) {
            proxy.setFault((_request, response) => void response.writeHead(status).end());
            const put = through().putManifest("app", "2.0", mediaTypes.ociManifest, image.bytes);
            expect(await failure(put)).toMatchObject({ code: "UNEXPECTED_STATUS", status });
        }
    });

    it("gets the digest from the manifest itself where HEAD does not name one", async () => {
        proxy.setFault(({ method }, response) =>
            method === "HEAD"
                ? void response.writeHead(200, typed).end()
                : answer(typed, image.bytes)({} as never, response, 1),
        );
        const head = await through().headManifest("app", "1.0");
        expect(head).toEqual({ digest: image.digest, mediaType: mediaTypes.ociManifest, size: image.bytes.length });
    });

    it("about a manifest's type, or with something that is none", async () => {
        for (const [type, body, text] of [
            [mediaTypes.ociIndex, image.bytes, `Content-Type says ${mediaTypes.ociIndex}`],
            ["text/html", "<html>log in</html>", "is not JSON"],
            ["text/html", image.bytes, "and is text/html"],
            ["application/json", "{}", "and is application/json"],
            ["application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", "v1+prettyjws"],
        ] as const) {
            proxy.setFault(answer({ "content-type": type }, body));
            const error = await failure(through().getManifest("app", "1.0"));
            expect(error).toMatchObject({ code: "BAD_CONTENT" });
            expect(error.message).toContain(text);
        }
    });

    it("with a manifest that never ends", async () => {
        const huge = Buffer.alloc(4 * 1024 * 1024 + 1, 32);
        proxy.setFault(answer(typed, huge));
        expect(await failure(through().getManifest("app", "1.0"))).toMatchObject({ code: "TOO_LARGE" });
        proxy.setFault((_request, response) => {
            response.writeHead(200, typed);
            response.write(huge, () => response.end());
            return undefined;
        });
        expect(await failure(through().getManifest("app", "1.0"))).toMatchObject({ code: "TOO_LARGE" });
    });

    it("with tags that are none, a page elsewhere, or the same page for ever", async () => {
        const json = { "content-type": "application/json" };
        for (const [headers, body] of [
            [json, '{"tags": "1.0"}'],
            [json, '{"tags": ["1'],
            [{ "content-type": "text/html" }, "<html>log in</html>"],
            [{ ...json, link: '<http://127.0.0.2:1/v2/app/tags/list?last=a>; rel="next"' }, '{"tags": ["a"]}'],
            [{ ...json, link: '</v2/app/tags/list?last=a>; rel="next"' }, '{"tags": ["a"]}'],
        ] as const) {
            proxy.setFault(answer(headers, body));
            expect(await failure(through().tags("app"))).toMatchObject({ code: "BAD_CONTENT" });
        }
    });
});
