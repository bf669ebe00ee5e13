import { createHash } from "node:crypto";

/**
 * What a fleet's resources are called in AWS. Most are named by Pulumi (the resource's name and 7 random digits); those whose name
 * has to be known before they exist, or that would be too long, get one from here.
 */
export interface NameScope {
    project: string;
    stack: string;
    /** The component's name. */
    fleet: string;
}

/** The longest names AWS takes (each service's API reference; for parameters, with the ARN before it). */
export const NAME_LIMITS = {
    role: 64,
    rolePolicy: 128,
    instanceProfile: 128,
    securityGroup: 255,
    launchTemplate: 128,
    alarm: 255,
    logGroup: 512,
    parameter: 1011,
} as const;

/** What Pulumi appends to a name it makes up: `-` and 7 hexadecimal digits. */
const RANDOM_SUFFIX = 8;

/** `arn:aws-us-gov:ssm:ap-southeast-2:123456789012:parameter` counts, too (SSM, PutParameter); the longest there is has 60. */
const PARAMETER_ARN = 64;

const fingerprint = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** At most `limit` characters: what is too long is cut, and told apart by a fingerprint of the whole. */
export function shortened(text: string, limit: number): string {
    return text.length <= limit ? text : `${text.slice(0, limit - 9)}-${fingerprint(text)}`;
}

/** Only characters that all of the services take; a text that had others is told apart by its fingerprint. */
function plain(text: string, limit: number): string {
    const cleaned = text.replace(/[^A-Za-z0-9_.-]+/g, "-");
    return cleaned === text ? shortened(text, limit) : `${cleaned.slice(0, limit - 9)}-${fingerprint(text)}`;
}

/**
 * The name of a child in AWS, or nothing where Pulumi may make it up from the resource's name: that is better, for a replacement can be
 * made before the old one is gone.
 *
 * @param logical the resource's name in Pulumi.
 */
export function physicalName(
    kind: "role" | "rolePolicy" | "instanceProfile" | "securityGroup" | "launchTemplate" | "alarm",
    logical: string,
    { project, stack }: NameScope,
): string | undefined {
    const fits = logical.length + RANDOM_SUFFIX <= NAME_LIMITS[kind];
    if (fits && /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(logical) && !/^sg-/i.test(logical)) {
        return undefined;
    }
    // Unique in the account: the same fleet may stand in many projects and stacks.
    const unique = fingerprint([project, stack, logical].join("\n"));
    const cleaned = logical.replace(/[^A-Za-z0-9_.-]+/g, "-").replace(/^[^A-Za-z0-9]+|^sg-/i, "");
    return `bf-${cleaned.slice(0, NAME_LIMITS[kind] - 12)}-${unique}`;
}

/** `/buildfleet/<project>/<stack>/<fleet>/<node>/tls`: one SecureString parameter per node. */
export function tlsParameterName({ project, stack, fleet }: NameScope, node: string): string {
    const parts = [project, stack, fleet].map((part) => plain(part, 200));
    return `/buildfleet/${parts.join("/")}/${plain(node, 100)}/tls`;
}

/** `/buildfleet/<project>/<stack>/<fleet>`: the log group of all its nodes; each has a stream of its own name. */
export function logGroupName({ project, stack, fleet }: NameScope): string {
    return `/buildfleet/${[project, stack, fleet].map((part) => plain(part, 150)).join("/")}`;
}

/** `project/stack/fleet`: tells fleets of one name apart in the metrics of an account. */
export const fleetId = ({ project, stack, fleet }: NameScope) => shortened(`${project}/${stack}/${fleet}`, 250);

/** How long a parameter's name may be, so that it fits with its ARN. */
export const PARAMETER_NAME_LIMIT = NAME_LIMITS.parameter - PARAMETER_ARN;
