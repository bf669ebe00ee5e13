import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { digestTag, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { answerError, type Fault, type FaultServer, startFaultServer } from "../support/fault-server";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { always, failure, plainClient, pushImage } from "./support";

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

describe("referrers", () => {
    const entry = (n: number, artifactType: string) => ({
        mediaType: mediaTypes.ociManifest,
        digest: sha256(String(n)),
        size: n,
        artifactType,
    });
    const page = (manifests: object[]) =>
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
    const isApi = (url: string) => url.includes("/referrers/");

    it("come from the API where there is one, page after page, filtered here if not there", async () => {
        proxy.setFault(({ url }, response) => {
            if (!isApi(url)) return "pass";
            const more = !url.includes("page=2");
            const link = more ? { link: `<${url.split("?")[0]}?page=2>; rel="next"` } : {};
            response.writeHead(200, { "content-type": mediaTypes.ociIndex, ...link });
            response.end(page(more ? [entry(1, "a/sig"), entry(2, "a/sbom")] : [entry(3, "a/sig")]));
            return undefined;
        });
        expect(await through().referrers("app", image.digest)).toHaveLength(3);
        const signatures = await through().referrers("app", image.digest, { artifactType: "a/sig" });
        expect(signatures.map(({ size }) => size)).toEqual([1, 3]);
        expect(proxy.seen.some(({ url }) => url.endsWith("?artifactType=a%2Fsig"))).toBe(true);
    });

    it.each([
        ["429", always(429, "TOOMANYREQUESTS")],
        ["500", always(500, "UNKNOWN")],
        ["400", always(400, "UNSUPPORTED")],
        ["a cut connection", ((_request, response) => void response.destroy()) as Fault],
        [
            "a login page",
            ((_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<p>")) as Fault,
        ],
        [
            "half an index",
            ((_request, response) =>
                void response.writeHead(200, { "content-type": mediaTypes.ociIndex }).end('{"m')) as Fault,
        ],
        [
            "no manifests",
            ((_request, response) =>
                void response.writeHead(200, { "content-type": mediaTypes.ociIndex }).end("{}")) as Fault,
        ],
    ])("are an error and no empty list on %s, from the API as from the tag", async (_name, fault) => {
        proxy.setFault((request, response, count) => (isApi(request.url) ? fault(request, response, count) : "pass"));
        await failure(through().referrers("app", image.digest));
        expect(proxy.seen.some(({ url }) => url.includes(digestTag(image.digest)))).toBe(false);
        proxy.setFault((request, response, count) =>
            request.url.includes(digestTag(image.digest)) ? fault(request, response, count) : "pass",
        );
        await failure(through().referrers("app", image.digest));
        expect(proxy.seen.some(({ url }) => isApi(url))).toBe(true);
    });

    it("are an error when a later page is missing, or the 404 is not a registry's", async () => {
        proxy.setFault(({ url }, response) => {
            if (!isApi(url)) return "pass";
            if (url.includes("page=2")) return answerError(response, 404, "MANIFEST_UNKNOWN");
            const link = `<${url}?page=2>; rel="next"`;
            response.writeHead(200, { "content-type": mediaTypes.ociIndex, link }).end(page([]));
            return undefined;
        });
        expect(await failure(through().referrers("app", image.digest))).toMatchObject({ code: "NOT_FOUND" });
        proxy.setFault((_request, response) => void response.writeHead(404).end("no such page"));
        expect(await failure(through().referrers("app", image.digest))).toMatchObject({ code: "NOT_FOUND" });
        expect(await failure(through().tags("app"))).toMatchObject({ code: "NOT_FOUND" });
        expect(await failure(through().deleteManifest("app", image.digest))).toMatchObject({ code: "NOT_FOUND" });
    });
});
