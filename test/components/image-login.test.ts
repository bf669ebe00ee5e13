import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { MultiPlatformImage, type Repository } from "../../index";
import { declare, find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

const ECR: Repository = {
    name: "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app",
    connection: { ecr: { region: pulumi.output("eu-central-1"), registryId: "123456789012" } },
};

describe("an image whose registry needs a login", () => {
    it("has one more login and a docker-build of its own, configured after it", async () => {
        const { resources } = await declareImage({ repository: ECR });
        const plain = (await declareImage()).resources;
        const more = inventory(resources).filter((line) => !inventory(plain).includes(line));
        expect(more).toEqual(["RegistryLogin app-login", "pulumi:providers:docker-build app-docker-build"]);
        const login = find(resources, "app-login");
        expect(login).toMatchObject({ parent: "app", secrets: [] });
        expect(login.inputs).toEqual({
            registry: "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            ecr: { region: "eu-central-1", registryId: "123456789012" },
        });
        const provider = find(resources, "app-docker-build");
        expect(provider).toMatchObject({ parent: "app", dependsOn: ["app-login"], inputs: { host: "" } });
        for (const slug of ["linux-amd64", "linux-arm64"]) {
            const image = find(resources, `app-image-${slug}`);
            expect(image.madeBy).toBe("app-docker-build");
            // The token is nowhere among the inputs, and neither is anything else that would build it again.
            expect(image.inputs).toEqual({
                ...find(plain, `app-image-${slug}`).inputs,
                exports: [{ image: expect.objectContaining({ names: [ECR.name] }) }],
            });
        }
    });

    it("keeps DOCKER_HOST, which differs between machines, out of the provider", async () => {
        const before = process.env.DOCKER_HOST;
        process.env.DOCKER_HOST = "tcp://10.0.0.1:2375";
        try {
            const { resources } = await declareImage({ repository: ECR });
            expect(find(resources, "app-docker-build").inputs).toEqual({ host: "" });
        } finally {
            if (before === undefined) delete process.env.DOCKER_HOST;
            else process.env.DOCKER_HOST = before;
        }
    });

    it("is built by the default provider where it needs none", async () => {
        const { resources } = await declareImage();
        expect(find(resources, "app-image-linux-amd64").madeBy).toBe("");
    });

    it("has a login that transform can change", async () => {
        const login = (args: object) => ({ ...args, registry: "mirror.example.com" }) as never;
        const { resources } = await declareImage({ repository: ECR, transform: { login } });
        expect(find(resources, "app-login").inputs.registry).toBe("mirror.example.com");
    });

    it("can be scanned by ECR itself, and no other image can", async () => {
        const { resources } = await declareImage({ repository: ECR, scan: { scanner: "ecr" } });
        expect(find(resources, "app-scan-linux-amd64").inputs).toMatchObject({
            scanner: "ecr",
            sbom: "",
            connection: ECR.connection && { ecr: { region: "eu-central-1", registryId: "123456789012" } },
        });
        await expect(declareImage({ scan: { scanner: "ecr" } })).rejects.toThrow(
            "scan.scanner: ecr scans only what is in ECR",
        );
    });

    it("refuses a password beside ecr", async () => {
        const both = { ...ECR, connection: { ...ECR.connection, username: "alice", password: "hers" } };
        await expect(declare(() => new MultiPlatformImage("app", imageArgs(both)))).rejects.toThrow(
            "repository.connection.username: set together with ecr",
        );
    });
});

const imageArgs = (repository: Repository) => ({
    fleet: { nodes: [{ name: "a", endpoint: "unix:///run/a.sock", platforms: ["linux/amd64"] }] },
    repository,
    context: "service",
    platforms: ["linux/amd64"],
    sign: false as const,
});
