/**
 * What went wrong, for programs:
 * - `BAD_REGION`: not the name of a region, or none that this account can use.
 * - `NO_CREDENTIALS`, `EXPIRED_CREDENTIALS`, `BAD_CREDENTIALS`: none found, no longer valid, not accepted.
 * - `DENIED`: the credentials are good, their owner may not do this.
 * - `THROTTLED`: still too many requests after all retries. `NO_ANSWER`: nothing came within the time allowed.
 * - `UNREACHABLE`: no connection. `NOT_FOUND`: what was named is not there.
 * - `CAPACITY`: AWS has no machine of this kind to give right now. `OTHER`: anything else; `awsCode` says what.
 */
export type AwsErrorCode =
    | "BAD_REGION"
    | "NO_CREDENTIALS"
    | "EXPIRED_CREDENTIALS"
    | "BAD_CREDENTIALS"
    | "DENIED"
    | "THROTTLED"
    | "NO_ANSWER"
    | "UNREACHABLE"
    | "NOT_FOUND"
    | "CAPACITY"
    | "OTHER";

/** A call of an AWS API that did not end well. Holds no credentials. */
export class AwsError extends Error {
    constructor(
        readonly code: AwsErrorCode,
        /** `ec2:StartInstances`, as a policy names it. */
        readonly action: string,
        readonly region: string,
        readonly reason: string,
        readonly next: string,
        /** AWS's own code: `RequestLimitExceeded`. */
        readonly awsCode = "",
    ) {
        super(`${action} in ${region}: ${reason}\nnext: ${next}`);
        this.name = "AwsError";
    }
}

const EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"]);
const REJECTED = new Set([
    "AuthFailure",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "IncompleteSignature",
]);
const DENIED = new Set(["UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess"]);
const THROTTLED = new Set([
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "EC2ThrottledException",
    "SlowDown",
]);
/**
 * Codes that mean "not now, not here, not at this price", so that another kind of capacity may do. EC2's list of error
 * codes (API reference, "Error codes for the Amazon EC2 API") has them; `Unsupported` is what a zone says that does
 * not offer the type in this way.
 */
const CAPACITY = new Set([
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientCapacity",
    "UnfulfillableCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "Unsupported",
]);
const UNREACHABLE =
    /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|CERT_|ERR_TLS|UNABLE_TO)/;

/** True for a name of the form that AWS gives its regions: `eu-central-1`, `us-gov-west-1`. */
export const isRegionName = (name: string) => /^[a-z]{2,4}(-[a-z]+){1,2}-\d{1,2}$/.test(name);

interface Thrown {
    name: string;
    message: string;
    code: string;
    status: number | undefined;
}

function readThrown(error: unknown): Thrown {
    if (!(error instanceof Error)) return { name: "", message: String(error), code: "", status: undefined };
    const { name, message } = error;
    const { code, Code, $metadata } = error as {
        code?: unknown;
        Code?: unknown;
        $metadata?: { httpStatusCode?: number };
    };
    const system = typeof code === "string" ? code : "";
    const service = typeof Code === "string" ? Code : name;
    // A failed dial of several addresses wraps one error each.
    if (!message && error instanceof AggregateError) return { ...readThrown(error.errors[0]), status: undefined };
    return { name: service, message, code: system, status: $metadata?.httpStatusCode };
}

/** AWS adds a blob of a thousand characters that only its own tool can read; what can be read comes before it. */
const readable = (message: string) =>
    (message.split(/\s*Encoded authorization failure message/)[0] ?? "").replaceAll(/\s+/g, " ").trim().slice(0, 400);

/** Turns what an SDK client threw into an {@link AwsError}. */
export function toAwsError(error: unknown, action: string, region: string): AwsError {
    if (error instanceof AwsError) return error;
    const { name, message, code, status } = readThrown(error);
    const said = readable(message);
    const make = (kind: AwsErrorCode, reason: string, next: string) =>
        new AwsError(kind, action, region, reason, next, name);
    if (EXPIRED.has(name) || /\b(session|token)\b.*\bexpired\b/i.test(said))
        return make(
            "EXPIRED_CREDENTIALS",
            `the AWS credentials have expired (${name})`,
            'log in again ("aws sso login", or whatever gave you the credentials), then run again; what was done is kept',
        );
    if (/Credentials|TokenProviderError/.test(name) && status === undefined)
        return make(
            "NO_CREDENTIALS",
            `no usable AWS credentials were found: ${said}`,
            'set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in ("aws sso login")',
        );
    if (REJECTED.has(name))
        return make(
            "BAD_CREDENTIALS",
            `AWS does not accept the credentials (${name})`,
            `check with "aws sts get-caller-identity", and that the account has the region ${region} enabled`,
        );
    if (DENIED.has(name)) {
        const denied = /not authorized to perform:? ([\w-]+:\w+)/.exec(said)?.[1] ?? action;
        return make(
            "DENIED",
            `no permission for ${denied}: ${said}`,
            `allow ${denied} to the identity that runs this program (the README lists what it needs)`,
        );
    }
    if (THROTTLED.has(name) || status === 429)
        return make(
            "THROTTLED",
            `AWS throttles this account's requests (${name}), and did so until all retries were used up`,
            "run again in a minute; look for what else calls this API so often, or ask AWS for a higher limit",
        );
    if (name === "TimeoutError" || name === "AbortError")
        return make(
            "NO_ANSWER",
            "no answer within the time allowed",
            `is there a way from here to ${serviceOf(action)} in ${region} (proxy, VPC endpoint)? then run again`,
        );
    if (code === "ENOTFOUND")
        return make("BAD_REGION", `its host has no address (${said})`, "correct the region, or mend name resolution");
    if (UNREACHABLE.test(code))
        return make(
            "UNREACHABLE",
            `no connection (${code}: ${said})`,
            `is there a way from here to ${serviceOf(action)} in ${region} (proxy, VPC endpoint)? then run again`,
        );
    if (/\.NotFound$|^ResourceNotFound|NotFoundException$|^ParameterNotFound$|IDNotFound$|\.Malformed$/.test(name))
        return make("NOT_FOUND", `${said} (${name})`, "run refresh, so that the state says what is really there");
    if (CAPACITY.has(name))
        return make(
            "CAPACITY",
            `${said} (${name})`,
            "run again later, or choose another instance type, another zone, or on-demand capacity",
        );
    // What a service that fails says is not for people, and often no answer of its own at all.
    if (status !== undefined && status >= 500)
        return make("OTHER", `the service failed (HTTP ${status})`, "run again in a little while");
    return make(
        "OTHER",
        `${said} (${name}${status ? `, HTTP ${status}` : ""})`,
        "see what AWS says above, then run again",
    );
}

const serviceOf = (action: string) => action.split(":")[0] ?? action;
