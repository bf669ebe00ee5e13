import { FormatError } from "../problems";
import { type Fault, late, text } from "../schema";
import { list, table } from "../schema-tables";
import { quote } from "../text";

const principalExpected = 'the ARN of a role, a user or an account, such as "arn:aws:iam::123456789012:root"';

/** Somebody by name: a policy for everybody would make it public. */
const principal = text(principalExpected, (value) => {
    if (value.includes("*")) {
        const hint = "name roles and accounts; for a whole organization write a policy of your own, with a condition";
        throw new FormatError(`${quote(value)} may be anybody`, principalExpected, hint);
    }
    if (/^\d{12}$/.test(value)) {
        throw new FormatError(
            `${quote(value)} is an account`,
            principalExpected,
            `did you mean "arn:aws:iam::${value}:root"?`,
        );
    }
    if (!/^arn:aws[a-z-]*:iam::\d{12}:(?:root|(?:role|user)\/[\w+=,.@/-]+)$/.test(value)) {
        throw new FormatError(`${quote(value)} is not such an ARN`, principalExpected);
    }
    return value;
});
export const principals = list(principal, { of: "ARNs", identity: (value) => value });

function tagKeyFault(key: string): Fault | undefined {
    if (/^aws:/i.test(key)) return { found: `${quote(key)} is reserved for AWS`, expected: "another key" };
    const right = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u.test(key);
    return right
        ? undefined
        : { found: `${quote(key)} is not a tag's key`, expected: "1 to 128 letters, digits, _.:/=+-@" };
}
const tagValue = text("up to 256 letters, digits, spaces and _ . : / = + - @", (value) => {
    if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u.test(value)) {
        throw new FormatError(`${quote(value)} is not a tag's value`, "up to 256 letters, digits and _.:/=+-@");
    }
    return value;
});

/** Tags of resources, as AWS's tagging APIs take them. */
export const resourceTags = late(table(tagValue, "tags", tagKeyFault));
