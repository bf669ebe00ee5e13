import type { z } from "zod";
import { type FleetSettings, fleetSettings } from "./aws/fleet-settings";
import { type RepositorySettings, repositorySettings } from "./aws/repository-settings";
import { scan, sign } from "./gate-settings";
import type { ImageSettings } from "./image-settings";
import { type LocalSettings, releasedImage } from "./local-settings";
import { FormatError } from "./problems";
import { choice, leaf, text } from "./schema";
import { fields, isTable } from "./schema-tables";
import { parseSettings } from "./settings";
import { quote } from "./text";

const roles = ["all", "fleet", "images"] as const;
type Role = (typeof roles)[number];

const stackExpected = 'a stack such as "organization/buildfleet/builders"';
const stackName = text(stackExpected, (value) => {
    if (!/^(?:[\w.-]+\/[\w.-]+\/)?[\w.-]+$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a stack`, stackExpected);
    }
    return value;
});

/**
 * The settings of the `aws` stack: builders on EC2, a repository in ECR and one image; or one half of that, with the other half in another
 * stack.
 *
 * @param now decides which ignore entries are over.
 * @param role of the stack: settings that it has no use for are refused. Without it all settings there are.
 */
export function awsSettings({ now = new Date(), role }: { now?: Date; role?: Role } = {}) {
    const only = <Schema extends z.ZodType>(users: Role[], schema: Schema): Schema =>
        role === undefined || users.includes(role) ? schema : (unused(role, users) as z.ZodType as Schema);
    const makes: Role[] = ["all", "fleet"];
    const releases: Role[] = ["all", "images"];
    return fields({
        role: choice(roles)
            .default("all")
            .describe("`fleet`: the builders alone; `images`: repository and image, on the builders of another stack"),
        fleet: only(makes, fleetSettings()),
        fleetStack: only(["images"], stackName).describe(
            "The other stack, whose outputs `nodes` and `client` are used; in a backend of your own its organization is `organization`",
        ),
        repository: only(releases, repositorySettings().prefault({})),
        image: only(releases, fields(releasedImage).prefault({})),
        scan: only(releases, scan(now).prefault({})).describe(
            "What the scan of each platform refuses; `false` switches it off",
        ),
        sign: only(releases, sign.optional()).describe("Who signs; a key in KMS that the stack makes, when unset"),
    });
}

/** A setting that the stack's role has no use for: not given, or a mistake. */
const unused = (role: Role, users: Role[]) =>
    leaf("", (value) => {
        if (value === undefined) return undefined;
        const hint = `leave it out, or choose role: ${users.join(" or ")}`;
        return { found: `of no use to a stack with role: ${role}`, expected: "nothing", hint };
    }).optional();

interface Release {
    repository: RepositorySettings;
    image: Omit<LocalSettings["image"], "repository">;
    scan: LocalSettings["scan"];
    sign?: ImageSettings["sign"];
}

/** The settings after parsing, defaults filled in. */
export type AwsSettings =
    | ({ role: "all"; fleet: FleetSettings } & Release)
    | { role: "fleet"; fleet: FleetSettings }
    | ({ role: "images"; fleetStack: string } & Release);

/** @throws SettingsError with every problem at once. */
export function parseAwsSettings(subject: string, value: unknown, options?: { now?: Date }): AwsSettings {
    const role = roles.find((known) => isTable(value) && value.role === known) ?? "all";
    return parseSettings(subject, awsSettings({ ...options, role }) as z.ZodType, value) as AwsSettings;
}
