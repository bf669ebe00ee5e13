import { cidrExpected, parseCidr } from "../cidr";
import { FormatError } from "../problems";
import { type Fault, text } from "../schema";
import { quote } from "../text";
import { instanceTypeExpected, parseInstanceType } from "./instance-types";

/** An id as EC2 makes them: `subnet-` and 8 (before 2016) or 17 hexadecimal digits. */
function ec2Id(prefix: string, what: string) {
    const expected = `${what}, such as "${prefix}-0123456789abcdef0"`;
    return text(expected, (value) => {
        if (!isEc2Id(prefix, value)) {
            throw new FormatError(`${quote(value)} is not ${what}`, expected);
        }
        return value;
    });
}

const isEc2Id = (prefix: string, value: string) => new RegExp(`^${prefix}-(?:[0-9a-f]{8}|[0-9a-f]{17})$`).test(value);

export const subnetId = ec2Id("subnet", "a subnet's id");
export const vpcId = ec2Id("vpc", "a VPC's id");

const imageExpected = 'an AMI\'s id, such as "ami-0123456789abcdef0"';

/** @param parameters whether a public or own parameter may stand for the id. */
export const imageId = ({ parameters }: { parameters: boolean }) => {
    const expected = parameters ? `${imageExpected}, or "resolve:ssm:<parameter>"` : imageExpected;
    return text(expected, (value) => {
        const isParameter = /^resolve:ssm:[A-Za-z0-9/_.-]+(?::[A-Za-z0-9_.-]+)?$/.test(value);
        if (isParameter && !parameters) {
            const hint = "write {id, architecture, rootDevice}: what a parameter holds can't be looked up";
            throw new FormatError(`${quote(value)} is a parameter`, expected, hint);
        }
        if (!isParameter && !isEc2Id("ami", value)) {
            throw new FormatError(`${quote(value)} is not an AMI's id`, expected);
        }
        return value;
    });
};

/** A zone's name: `eu-central-1a`, `us-gov-west-1b`, `us-west-2-lax-1a`, `us-east-1-wl1-bos-wlz-1`. */
export const zone = text('an availability zone such as "eu-central-1a"', (value) => {
    if (!/^[a-z]{2,5}(?:-[a-z]+)+-\d+(?:[a-z]|(?:-[a-z0-9]+)+)$/.test(value)) {
        const isRegion = /^[a-z]{2,5}(?:-[a-z]+)+-\d+$/.test(value);
        const hint = isRegion ? `that is a region: did you mean "${value}a"?` : undefined;
        const isId = /^[a-z]{3,}\d+-az\d+$/.test(value);
        throw new FormatError(
            `${quote(value)} is not an availability zone`,
            'a zone\'s name such as "eu-central-1a"',
            isId ? "that is a zone's id: write its name" : hint,
        );
    }
    return value;
});

/** The region of a zone's name. */
export const regionOf = (zoneName: string) => /^[a-z]{2,5}(?:-[a-z]+)+-\d+/.exec(zoneName)?.[0] ?? zoneName;

export const instanceType = text(instanceTypeExpected, (value) => parseInstanceType(value).name);

export const cidr = text(cidrExpected, (value) => parseCidr(value).text);

/** A block of addresses or a security group's id; which of the two is meant shows in its first letters. */
export const accessSource = text('a block such as "10.0.0.0/16", or a security group\'s id', (value) => {
    if (isSecurityGroup(value)) {
        if (!isEc2Id("sg", value)) {
            throw new FormatError(`${quote(value)} is not a security group's id`, '"sg-0123456789abcdef0"');
        }
        return value;
    }
    return parseCidr(value).text;
});

export const isSecurityGroup = (value: string) => value.startsWith("sg-");

/** An ARN of one service; `resource` is matched against what stands after the account. */
export function arn(service: string, resource: RegExp, example: string) {
    const expected = `an ARN such as "${example}"`;
    return text(expected, (value) => {
        const [prefix, partition = "", found, , account = "", ...rest] = value.split(":");
        const right = prefix === "arn" && /^aws[a-z-]*$/.test(partition) && found === service;
        if (!right || !/^\d{12}$/.test(account) || !resource.test(rest.join(":"))) {
            throw new FormatError(`${quote(value)} is not such an ARN`, expected);
        }
        return value;
    });
}

/** A tag's key and value, as EC2 and its metadata service take them (EC2 user guide, "Tag restrictions", "View tags using IMDS"). */
export function tagFault(key: string): Fault | undefined {
    if (/^aws:/i.test(key)) {
        return { found: `${quote(key)} is reserved for AWS`, expected: "a key that does not begin with aws:" };
    }
    if (/^buildfleet:/i.test(key)) {
        return {
            found: `${quote(key)} is one of the fleet's own`,
            expected: "a key that does not begin with buildfleet:",
        };
    }
    if (!/^[A-Za-z0-9+=.,_:@-]{1,128}$/.test(key) || [".", "..", "_index"].includes(key)) {
        const expected = "1 to 128 letters, digits and + - = . , _ : @";
        return { found: `${quote(key)} can't be read from the metadata service`, expected };
    }
    return undefined;
}

export const tagValue = text("up to 256 letters, digits, spaces and _ . : / = + - @", (value) => {
    if (value.length > 256 || !/^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u.test(value)) {
        throw new FormatError(
            `${quote(value)} is not a tag's value`,
            "up to 256 letters, digits, spaces and _ . : / = + - @",
        );
    }
    return value;
});

/** A name that is part of the machine's: lower case, as host names are. */
export function groupNameFault(name: string): Fault | undefined {
    const right = /^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?$/.test(name);
    const expected = "1 to 32 lower-case letters, digits and -, from a letter on";
    return right ? undefined : { found: `${quote(name)} can't be part of a machine's name`, expected };
}
