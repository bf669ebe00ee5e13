import type { z } from "zod";
import { FormatError } from "../problems";
import { late, text, whole } from "../schema";
import { fields } from "../schema-tables";
import { checkSettings, type Late } from "../settings";
import { quote } from "../text";
import { principals, resourceTags } from "./principals";

const aliasExpected = "1 to 250 letters, digits and / _ -, which do not begin with aws/";

/** As `CreateAlias` takes it (API reference), without `alias/`. */
const alias = text(aliasExpected, (value) => {
    const bare = value.replace(/^alias\//, "");
    const hint = bare === value ? undefined : `leave out "alias/": ${quote(bare)}`;
    if (hint !== undefined || !/^[a-zA-Z0-9/_-]{1,250}$/.test(value) || value.startsWith("aws/")) {
        throw new FormatError(`${quote(value)} is not an alias`, aliasExpected, hint);
    }
    return value;
});

/** The schema of an `ImageSigningKey`'s arguments. */
function signingKeySettings() {
    return fields({
        alias: alias.optional().describe("`buildfleet/<project>/<stack>/<name>` when unset"),
        signers: late(principals).default([]).describe("Who may sign; whom the account's own policies let when unset"),
        readers: late(principals).default([]).describe("Who else may read the public half, to verify"),
        administrators: late(principals).default([]).describe("Who else may manage the key, and not sign with it"),
        deletionWindowDays: whole({ min: 7, max: 30 })
            .default(30)
            .describe("How long a deleted key can still be brought back"),
        tags: resourceTags.default({}).describe("Of the key"),
    });
}

/** An `ImageSigningKey`'s arguments after parsing, defaults filled in. */
export type SigningKeySettings = z.output<ReturnType<typeof signingKeySettings>>;

/** @throws SettingsError with every problem at once. */
export function checkSigningKeySettings(subject: string, value: unknown): Late<SigningKeySettings> {
    return checkSettings(subject, signingKeySettings() as z.ZodType<SigningKeySettings>, value);
}
