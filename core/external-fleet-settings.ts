import type { z } from "zod";
import { dockerHostSettings, parseDockerEndpoint } from "./docker-host-settings";
import { type Endpoint, endpointExpected, parseEndpoint, usesTls } from "./endpoint";
import { platform, platformIdentity } from "./leaves";
import { FormatError } from "./problems";
import { always, faultIn, late, leaf, report, secretText, text, whole } from "./schema";
import { fields, isTable, list } from "./schema-tables";
import { checkSettings, type Late } from "./settings";
import { quote } from "./text";

const nodeName = text('a name such as "arm-1"', (value) => {
    if (!/^[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/.test(value))
        throw new FormatError(`${quote(value)} is not a name`, "up to 63 letters, digits and . _ -");
    return value;
});

const endpoint = text(endpointExpected, (value) => {
    parseEndpoint(value);
    return value;
});

const serverName = text('a name such as "arm-1.room.example"', (value) => {
    if (!/^[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?$/.test(value))
        throw new FormatError(`${quote(value)} is not a host's name`, 'a name such as "arm-1.room.example"');
    return value;
});

const pem = (what: string) =>
    leaf<string>(`${what}, PEM`, (value) => {
        const right = typeof value === "string" && value.includes("-----BEGIN CERTIFICATE-----");
        return right ? undefined : { found: "no certificate", expected: `${what}, PEM (-----BEGIN CERTIFICATE-----)` };
    });

const node = fields({
    name: nodeName.describe("Shown in outputs and errors; unique in the fleet"),
    endpoint: endpoint.describe("`tcp://`, `ssh://`, `unix://`, `docker-container://` or `kube-pod://`"),
    platforms: list(platform, { of: "platforms", min: 1, identity: platformIdentity })
        .optional()
        .describe("What it may be asked to build; default what it says itself that it runs"),
    serverName: serverName.optional().describe("Name in its certificate; default the endpoint's host"),
    docker: late(dockerHostSettings())
        .optional()
        .describe("The endpoint is a Docker daemon, and BuildKit runs there in a container"),
    maxBuilds: whole({ min: 1, max: 1000 }).optional().describe("Builds at a time; default no limit"),
});

const client = fields({
    ca: pem("the authority of the nodes' certificates").describe("Authorities whose nodes are trusted, PEM"),
    certificate: pem("the client's certificate").describe("PEM"),
    privateKey: secretText("the client's private key, PEM").describe("PEM; secret"),
});

/** The schema of a fleet of machines that somebody else runs. */
export const externalFleetSettings = () =>
    fields({
        nodes: late(list(node, { of: "nodes", min: 1, identity: ({ name }) => name })).describe(
            "Machines that run BuildKit",
        ),
        client: late(client).optional().describe("What lets in to `tcp://` nodes"),
    }).superRefine(crossChecks, always);

function crossChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    const nodes: unknown[] = Array.isArray(value.nodes) ? value.nodes : [];
    const seen = new Map<string, number>();
    for (const [index, one] of nodes.entries()) {
        if (!isTable(one)) continue;
        const read = readable(one.endpoint);
        if (!read || typeof one.endpoint !== "string") continue;
        const path = (name: string) => ["nodes", index, name];
        const docker = isTable(one.docker) ? one.docker : undefined;
        // Builders of different instances on one Docker daemon are daemons of their own.
        const daemon = `${one.endpoint} ${docker ? (docker.instance ?? one.name) : "-"}`;
        const earlier = seen.get(daemon);
        seen.set(daemon, earlier ?? index);
        if (earlier !== undefined) {
            const hint = "leave one out: two names for one daemon would get two shares of the builds";
            report(ctx, { found: `that of nodes[${earlier}], too`, expected: "each once", hint }, path("endpoint"));
        }
        if (one.docker !== undefined) {
            const fault = faultIn(() => parseDockerEndpoint(one.endpoint as string));
            if (fault) report(ctx, fault, path("endpoint"));
        }
        if (one.serverName !== undefined && !usesTls(one.endpoint)) {
            const expected = "none: only tcp:// has certificates";
            report(ctx, { found: `set for ${read.kind}://`, expected, hint: "leave it out" }, path("serverName"));
        }
        if (read.kind === "tcp" && one.docker === undefined && value.client === undefined && !isLoopback(read.host)) {
            const found = `${quote(one.endpoint)} without a client certificate is open to everybody who reaches it`;
            const expected = "client: {ca, certificate, privateKey}";
            report(ctx, { found, expected, hint: `set ${expected}, or use ssh://` }, path("endpoint"));
        }
    }
}

function readable(value: unknown): Endpoint | undefined {
    if (typeof value !== "string") return undefined;
    try {
        return parseEndpoint(value);
    } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
    }
}

const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(?:\.\d+){3}$/.test(host);

export type ExternalFleetSettings = z.output<ReturnType<typeof externalFleetSettings>>;

/**
 * Checks the settings of a fleet of machines that somebody else runs; {@link Unresolved} stands for what is not known yet.
 *
 * @throws SettingsError with every problem at once.
 */
export function checkExternalFleetSettings(subject: string, value: unknown): Late<ExternalFleetSettings> {
    return checkSettings(subject, externalFleetSettings(), value);
}
