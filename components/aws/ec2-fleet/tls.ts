import { Parameter } from "@pulumi/aws/ssm/parameter";
import * as pulumi from "@pulumi/pulumi";
import { tlsParameterName } from "../../../core/aws/names";
import { Certificate } from "../../../resources/certificate";
import { CertificateAuthority } from "../../../resources/certificate-authority";
import { applyTransform } from "../../transform";
import { type FleetScope, tagsOf } from "./fleet-scope";

/** What a parameter of the standard tier holds (SSM, PutParameter). */
const MOST_CHARACTERS = 4096;

/** The fleet's own authority and the certificate of whoever builds on it. */
export function createClient({ name, transform, child }: FleetScope) {
    const authority = new CertificateAuthority(
        `${name}-ca`,
        applyTransform(transform.authority, { commonName: `${name} builders` }, `${name}-ca`),
        child,
    );
    const logical = `${name}-client`;
    const client = new Certificate(
        logical,
        applyTransform(
            transform.certificate,
            { authority: pairOf(authority), commonName: `${name} client`, usage: "client" },
            logical,
        ),
        child,
    );
    return { authority, client };
}

/** The pair alone: a resource among the inputs would be sent as a reference to it. */
const pairOf = ({ certificate, privateKey }: CertificateAuthority) => ({ certificate, privateKey });

/**
 * A node's key, certificate and CA bundle in one parameter, so that a node never gets them from different versions. The bundle holds the
 * next authority long before it signs, and the one before while it is valid: until a node has looked for a new version, it lets in the client
 * of this `up` all the same.
 */
export function createTlsParameter(scope: FleetScope, node: string, authority: CertificateAuthority): Parameter {
    const { name, args, transform, names, child } = scope;
    const certificateName = `${name}-${node}-cert`;
    const server = new Certificate(
        certificateName,
        applyTransform(
            transform.certificate,
            { authority: pairOf(authority), commonName: node, usage: "server", dnsNames: [node] },
            certificateName,
        ),
        child,
    );
    const logical = `${name}-${node}-tls`;
    const value = pulumi
        .all([server.privateKey, server.certificate, authority.trustBundle])
        .apply((parts) => parameterValue(node, parts));
    const parameter = {
        name: tlsParameterName(names, node),
        type: "SecureString",
        value: pulumi.secret(value),
        description: `Key and certificate of the builder ${node}`,
        tags: tagsOf(scope, node),
        ...(args.parameterKey === undefined ? {} : { keyId: args.parameterKey }),
    };
    return new Parameter(logical, applyTransform(transform.parameter, parameter, logical), {
        ...child,
        additionalSecretOutputs: ["value"],
    });
}

function parameterValue(node: string, parts: string[]): string {
    const value = parts.map((pem) => (pem.endsWith("\n") ? pem : `${pem}\n`)).join("");
    if (value.length <= MOST_CHARACTERS) return value;
    throw new Error(
        `key, certificate and authorities of ${node} have ${value.length} characters, a parameter takes ${MOST_CHARACTERS}; ` +
            "use shorter names for fleet and nodes",
    );
}
