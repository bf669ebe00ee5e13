import { parseReference } from "./reference";
import { choice, type Fault, flag, kindOf, leaf, text } from "./schema";
import { exactlyOne, fields, list } from "./schema-tables";

/** Settings of BuildKit's s3 cache that hold credentials; they belong into the node's environment. */
const credentials = /(?:^|,)\s*(?:access_key_id|secret_access_key|session_token|token|account_key)=/i;

const expectedRaw = 'buildx\'s own form, such as "type=registry,ref=registry.example.com/app:cache"';

/** Settings as buildx takes them. Credentials in them would end up in Pulumi's state and in a command line. */
const raw = leaf<string>(expectedRaw, (value): Fault | undefined => {
    if (typeof value !== "string") {
        return { found: kindOf(value), expected: expectedRaw, wrongKind: true };
    }
    if (credentials.test(value)) {
        return { found: "credentials", expected: expectedRaw, hint: "give them to the node's environment instead" };
    }
    return /^type=[a-z0-9]+(?:,|$)/.test(value) ? undefined : { found: "not in buildx's form", expected: expectedRaw };
});

const mode = choice(["min", "max"]).optional().describe("`max` keeps the steps of all stages, `min` only the result's");
const ignoreError = flag().optional().describe("Do not fail the build when the cache can't be written");
const ref = text("an image reference", (value) => {
    parseReference(value);
    return value;
});

const s3 = {
    bucket: text("a bucket's name"),
    region: text("an AWS region"),
    name: text("a name for this cache").optional(),
    prefix: text("a prefix of object names").optional(),
    endpointUrl: text("the address of an S3 service").optional(),
    usePathStyle: flag().optional(),
};
const gha = { scope: text("a scope's name").optional() };

const source = exactlyOne({
    registry: fields({ ref }),
    local: fields({ src: text("a folder") }),
    s3: fields(s3),
    gha: fields(gha),
    raw,
});

const target = exactlyOne({
    registry: fields({
        ref,
        mode,
        ignoreError,
        imageManifest: flag().optional().describe("ECR needs it"),
        ociMediaTypes: flag().optional().describe("ECR needs it"),
        compression: choice(["gzip", "estargz", "zstd", "uncompressed"]).optional(),
    }),
    local: fields({ dest: text("a folder"), mode, ignoreError }),
    inline: fields({}),
    s3: fields({ ...s3, mode, ignoreError }),
    gha: fields({ ...gha, mode, ignoreError }),
    raw,
});

/** Where builds look for steps that were done before. */
export const cacheFrom = list(source, { of: "caches" });

/** Where builds leave their steps for others. */
export const cacheTo = list(target, { of: "caches" });
