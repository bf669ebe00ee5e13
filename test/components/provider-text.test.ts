import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { Ec2Fleet } from "../../components/aws/ec2-fleet";
import * as sources from "../../index";
import { declare } from "../support/declared";
import { subnets } from "./declare-fleet";

const CHECKOUT = resolve(__dirname, "../..");

/**
 * The text as every stack's state has it. Pulumi replaces a resource whose provider's text is another one: new signing keys, new
 * authorities, daemons stopped and started, for every user. So never change this file to make the test pass.
 */
const GOLDEN = readFileSync(join(CHECKOUT, "test/fixtures/dynamic-provider.txt"), "utf8");

const KINDS = readdirSync(join(CHECKOUT, "resources"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
const kebab = (type: string) => type.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();

/** A program that has a resource of every kind. */
function everything(
    {
        Emulation,
        ImageMirror,
        ManagedFleet,
        RegistryServer,
        LocalRegistry,
        LocalFleet,
        SigningKey,
        MultiPlatformImage,
    }: typeof sources,
    Fleet: typeof Ec2Fleet,
) {
    new Fleet("cloud", { access: { mode: "ssm" }, subnets, nodes: { arm64: { capacity: "spot" } } });
    new Emulation("arm", { platforms: ["linux/arm64"] });
    const artifact = { url: "https://mirror.room/registry", sha256: "a".repeat(64) };
    new ManagedFleet("hosts", { hosts: { arm: { ssh: { host: "arm.room" }, architecture: "arm64" } } });
    new RegistryServer("room", { ssh: { host: "store.room" }, address: "store.room:5000", artifact });
    const registry = new LocalRegistry("registry");
    const fleet = new LocalFleet("builders", { registries: registry.nodeSettings });
    const key = new SigningKey("key");
    new ImageMirror("mirror", { images: { debian: "debian:12" }, to: { registry } });
    const connection = { plainHttp: true, ecr: { region: "eu-central-1" } };
    const repository = { ...registry.repository("app"), connection, check: true };
    const image = {
        fleet,
        repository,
        context: ".",
        platforms: ["linux/arm64"],
        gitTags: {},
        sign: { key },
        exports: [{ format: "oci" as const, path: "app.tar" }],
    };
    return new MultiPlatformImage("app", image).ref;
}

const compiled = (name: string) => require(join(CHECKOUT, "dist", name));

describe.each([
    ["the sources", sources, Ec2Fleet],
    // What is shipped.
    ["the compiled package", compiled("index.js") as typeof sources, compiled("aws.js").Ec2Fleet as typeof Ec2Fleet],
])("the providers' text, from %s", (_origin, library, Fleet) => {
    it("is what it always was, for every kind of resource", async () => {
        const { resources } = await declare(() => everything(library, Fleet));
        const dynamic = resources.filter(({ provider }) => provider !== "");
        expect(new Set(dynamic.map(({ type }) => kebab(type)))).toEqual(new Set(KINDS));
        for (const { type, provider } of dynamic) expect(provider).toBe(GOLDEN.replaceAll("KIND", kebab(type)));
    }, 300_000);
});
