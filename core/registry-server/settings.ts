import type { z } from "zod";
import { archiveUrl, sha256 } from "../artifact-leaves";
import { parseDuration } from "../duration";
import type { duration } from "../leaves";
import { FormatError } from "../problems";
import { isRegistry } from "../reference";
import { always, type Fault, flag, late, leaf, off, report, secretText, text } from "../schema";
import { fields, isTable, table } from "../schema-tables";
import { checkSettings, type Late } from "../settings";
import { sshSettings } from "../ssh-settings";
import { quote } from "../text";

const addressExpected = 'host:port, such as "registry.room:5000"';

const address = text(addressExpected, (value) => {
    const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value)?.[1];
    if (scheme !== undefined) {
        const hint = `leave out ${quote(`${scheme}://`)}${/^http$/i.test(scheme) ? ", and set plainHttp: true" : ""}`;
        throw new FormatError(`${quote(value)} is a URL`, addressExpected, hint);
    }
    if (!isRegistry(value)) throw new FormatError(`${quote(value)} is not a registry's address`, addressExpected);
    const port = Number(/:(\d+)$/.exec(value)?.[1] ?? Number.NaN);
    if (!(port >= 1 && port <= 65_535)) {
        throw new FormatError(`${quote(value)} has no port`, addressExpected, `write ${quote(`${value}:5000`)}`);
    }
    return value;
});

/** Folders that the service can't see (systemd.exec(5), ProtectHome and PrivateTmp), or that are not for this. */
const CLOSED = /^\/(?:(?:home|root|run|tmp|var\/tmp|proc|sys|dev|etc|boot|usr|s?bin|lib\d*)(?:\/|$)|var\/[a-z]+$)/;
const storageExpected = 'a folder of its own, such as "/srv/registry"';

const storage = text(storageExpected, (value) => {
    if (!/^(?:\/[A-Za-z0-9_][\w.-]*){2,}$/.test(value))
        throw new FormatError(`${quote(value)} is not a folder of its own`, storageExpected);
    if (CLOSED.test(value)) throw new FormatError(`${quote(value)} is closed to the service`, storageExpected);
    return value;
});

/** Names that htpasswd can hold, and that no client reads as something else. */
function userFault(name: string): Fault | undefined {
    if (/^[A-Za-z0-9][\w.@$+-]{0,127}$/.test(name)) return undefined;
    return { found: `${quote(name)} is not a user's name`, expected: "letters, digits and . _ - @ $ +" };
}

const passwordExpected = "a password of 8 to 72 bytes in one line";

/** bcrypt reads 72 bytes, and no more. */
const password = leaf<string>(passwordExpected, (value): Fault | undefined => {
    if (typeof value !== "string") return { found: "not text", expected: passwordExpected, wrongKind: true };
    const bytes = Buffer.byteLength(value);
    if (bytes < 8 || bytes > 72) return { found: `it has ${bytes} bytes`, expected: passwordExpected };
    return /\p{Cc}/u.test(value) ? { found: "it has a control character", expected: passwordExpected } : undefined;
});

const scheduleExpected = 'a calendar event of systemd.time(7), such as "Sun 03:17" or "*-*-* 04:00"';

const schedule = text(scheduleExpected, (value) => {
    if (!/^[A-Za-z0-9*:,./~ -]{1,100}$/.test(value) || !/\d/.test(value))
        throw new FormatError(`${quote(value)} is not a calendar event`, scheduleExpected);
    return value;
});

const quiet = text("a duration from 1 minute to 1 day", (value) => {
    const ms = parseDuration(value);
    if (ms < 60_000 || ms > 86_400_000) throw new FormatError(`${quote(value)} is out of range`, "1 minute to 1 day");
    return value as z.output<typeof duration>;
});

const garbageCollection = fields({
    schedule: schedule.default("Sun 03:17").describe("When, as systemd.time(7) has it"),
    quiet: quiet
        .default("1 hour")
        .describe("It begins when nothing was pushed for so long; looked at every 15 minutes"),
});

const tls = fields({
    certificate: text("a certificate, PEM").describe("With those between it and its authority"),
    privateKey: secretText("the certificate's private key, PEM").describe("A secret"),
    ca: text("the authority's certificate, PEM")
        .optional()
        .describe("For clients; the system's authorities when unset"),
});

/**
 * The arguments of a `RegistryServer`.
 *
 * @param ssh how the host is said; default as `SshArgs` have it.
 */
export function registryServerSettings(ssh: z.ZodType = sshSettings()) {
    return fields({
        ssh: late(ssh).describe("The host"),
        address: address.describe("What everybody calls it by, `host:port`; the host listens on this port"),
        artifact: late(
            fields({
                url: archiveUrl.describe("HTTPS; plain HTTP only to a private host"),
                sha256: sha256.describe("Of what the URL serves"),
            }),
        ).describe("The registry's program, or a release's archive, for the host's architecture"),
        plainHttp: flag().default(false).describe("No TLS"),
        tls: late(tls).optional().describe("Its certificate; one of an authority of its own when unset"),
        users: table(password, "passwords by user", userFault)
            .default({})
            .describe("Who may pull and push; everybody when empty"),
        client: text("a user's name").optional().describe("Whose password builds get; the first user's when unset"),
        storage: storage
            .optional()
            .describe("The folder of the images; `/var/lib/buildfleet-registry/<name>` when unset"),
        garbageCollection: late(garbageCollection)
            .or(off())
            .prefault({})
            .describe("Frees what no manifest refers to; `false` switches it off"),
        deleteData: flag().default(false).describe("Whether the images go with it"),
    })
        .superRefine(checkTls, always)
        .superRefine(checkClient, always);
}

function checkClient(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || typeof value.client !== "string" || !isTable(value.users ?? {})) return;
    const names = Object.keys(value.users ?? {});
    if (names.includes(value.client)) return;
    const expected = names.length > 0 ? `one of users: ${names.join(", ")}` : "none where there are no users";
    report(ctx, { found: `${quote(value.client)} has no password`, expected }, ["client"]);
}

function checkTls(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || value.plainHttp !== true || value.tls === undefined) return;
    report(ctx, { found: "set together with plainHttp", expected: "one of them: plain HTTP has no certificate" }, [
        "tls",
    ]);
}

/** A `RegistryServer`'s arguments after parsing, defaults filled in. */
export type RegistryServerArguments = Omit<z.output<ReturnType<typeof registryServerSettings>>, "ssh"> & {
    ssh: z.output<ReturnType<typeof sshSettings>>;
};

/** @throws SettingsError with every problem at once. */
export function checkRegistryServerSettings(subject: string, value: unknown): Late<RegistryServerArguments> {
    return checkSettings(subject, registryServerSettings() as z.ZodType as z.ZodType<RegistryServerArguments>, value);
}
