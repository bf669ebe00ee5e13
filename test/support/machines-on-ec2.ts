import { randomUUID } from "node:crypto";
import { withAws } from "../../drivers/aws/clients";
import { REGION } from "./moto";

let image: Promise<string> | undefined;

/** One of moto's own images, of this machine's architecture; the list is long, and the same in every moto. */
function anImage(): Promise<string> {
    image ??= findImage();
    return image;
}

async function findImage(): Promise<string> {
    const { DescribeImagesCommand } = await import("@aws-sdk/client-ec2");
    const { Images = [] } = await withAws("ec2", REGION, (send) =>
        send(new DescribeImagesCommand({ Owners: ["amazon"] })),
    );
    const own = process.arch === "arm64" ? "arm64" : "x86_64";
    const found = Images.find(({ Architecture }) => Architecture === own)?.ImageId;
    if (!found) throw new Error(`moto has no image for ${own}`);
    return found;
}

/** Starts instances in moto, as a fleet would have; answers their ids. */
export async function runInstances(count = 1): Promise<string[]> {
    const { RunInstancesCommand } = await import("@aws-sdk/client-ec2");
    const ImageId = await anImage();
    const command = new RunInstancesCommand({ ImageId, MinCount: count, MaxCount: count, InstanceType: "c7g.large" });
    const { Instances = [] } = await withAws("ec2", REGION, (send) => send(command));
    return Instances.map(({ InstanceId = "" }) => InstanceId);
}

/** Makes a launch template and finds a subnet for it. */
export async function makeTemplate(): Promise<{ launchTemplateId: string; subnetId: string }> {
    const { CreateLaunchTemplateCommand, DescribeSubnetsCommand } = await import("@aws-sdk/client-ec2");
    const ImageId = await anImage();
    return withAws("ec2", REGION, async (send) => {
        const { LaunchTemplate } = await send(
            new CreateLaunchTemplateCommand({
                LaunchTemplateName: `builders-${randomUUID()}`,
                LaunchTemplateData: { ImageId, InstanceType: "c7g.large" },
            }),
        );
        const { Subnets = [] } = await send(new DescribeSubnetsCommand({}));
        return { launchTemplateId: LaunchTemplate?.LaunchTemplateId ?? "", subnetId: Subnets[0]?.SubnetId ?? "" };
    });
}
