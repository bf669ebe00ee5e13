import * as pulumi from "@pulumi/pulumi";
import { Ec2Fleet, type Ec2FleetArgs, EcrRepository, type EcrRepositoryArgs, ImageSigningKey } from "../aws";
import type { FleetSettings } from "../core/aws/fleet-settings";
import { type AwsSettings, parseAwsSettings } from "../core/aws-settings";
import { type Fleet, MultiPlatformImage } from "../index";
import { imageArgs, outputsOfImage } from "./released";

type Outputs = Record<string, unknown>;

/** Builders on EC2 and one image in ECR; or one half of that, with the other half in another stack. */
export async function aws(settings: unknown): Promise<Outputs> {
    const parsed = parseAwsSettings("buildfleet:settings", settings);
    switch (parsed.role) {
        case "all": {
            const fleet = createFleet(parsed.fleet);
            return { ...release(fleet, parsed), ...outputsOf(fleet) };
        }
        case "fleet":
            return outputsOf(createFleet(parsed.fleet));
        case "images": {
            const builders = new pulumi.StackReference(parsed.fleetStack);
            const fleet = { nodes: builders.requireOutput("nodes"), client: builders.requireOutput("client") };
            return release(fleet, parsed);
        }
    }
}

// The settings are checked, by the very schema of the component's arguments.
const createFleet = (settings: FleetSettings) => new Ec2Fleet("builders", settings as Ec2FleetArgs);

/** What other stacks build with (`nodes` and `client`, which is secret), and what people want to know. */
function outputsOf({ nodes, client, instanceIds, capacities, caches, cost }: Ec2Fleet): Outputs {
    return { nodes, client: pulumi.secret(client), instanceIds, capacities, caches, cost };
}

function release(fleet: Fleet, settings: Extract<AwsSettings, { image: unknown }>): Outputs {
    const { image, scan, sign } = settings;
    const repository = new EcrRepository("repository", {
        name: "hello",
        version: image.version,
        ...(settings.repository as EcrRepositoryArgs),
    });
    const released = new MultiPlatformImage("image", {
        fleet,
        repository,
        ...repository.cache,
        ...imageArgs(image),
        buildArgs: { VERSION: image.version, ...image.buildArgs },
        scan,
        sign: sign ?? { key: new ImageSigningKey("signing-key").key },
    });
    return outputsOfImage(released);
}
