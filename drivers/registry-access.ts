import { join } from "node:path";
import { parseReference } from "../core/reference";
import type { RegistryConnection } from "../core/registry-connection";
import { withPublicAuthorities } from "./authorities";
import { ecrCredentials } from "./aws/ecr";
import { storeFolder } from "./buildx";
import { writeFileAtomic } from "./files";
import {
    type CredentialSource,
    dockerConfigCredentials,
    RegistryClient,
    staticCredentials,
    writeDockerConfig,
} from "./registry";
import { inTemporaryFolder } from "./temporary-folder";

/** A client certificate as tools take it: two files, PEM. */
export interface ClientCertificateFiles {
    certificate: string;
    privateKey: string;
}

/** One repository as our own client and the tools we start reach it. */
export interface RegistryAccess {
    client: RegistryClient;
    /** `127.0.0.1:5000` */
    registry: string;
    /** `team/app`, without the registry. */
    path: string;
    plainHttp: boolean;
    /** File with the private authority's certificate and the public ones, where there is a private one. */
    caFile?: string;
    /** Where the registry asks for a client certificate. */
    clientCertificate?: ClientCertificateFiles;
    /** Environment of a tool: where it finds the password, when one was given. */
    env: Record<string, string>;
}

/** Where the password comes from; undefined where Docker's own configuration has it. */
function sourceOf({ username, password, ecr }: RegistryConnection): CredentialSource | undefined {
    if (ecr) return ecrCredentials(ecr);
    return username !== undefined && password !== undefined ? staticCredentials({ username, password }) : undefined;
}

/** What {@link sourceOf} has for tools, which take nothing but a name and a password. */
async function passwordOf(source: CredentialSource | undefined, registry: string) {
    const credential = await source?.get(registry);
    return credential && "password" in credential ? credential : undefined;
}

/**
 * What a private Docker configuration has to hold; undefined where the machine's own is to be used. A private one hides that, so
 * what it has for the registry itself goes along with the mirrors' passwords; a token in it that is no password stays, alone.
 */
async function passwordsFor(
    registry: string,
    credential: { username: string; password: string } | undefined,
    { mirrorCredentials = [] }: RegistryConnection,
): Promise<Record<string, { username: string; password: string }> | undefined> {
    const mirrors = Object.fromEntries(mirrorCredentials.map((mirror) => [mirror.address, mirror]));
    if (credential) return { ...mirrors, [registry]: credential };
    if (mirrorCredentials.length === 0) return undefined;
    const known = await dockerConfigCredentials().get(registry);
    if (!known) return mirrors;
    return "password" in known ? { ...mirrors, [registry]: known } : undefined;
}

/** Our own client of a connection's registry; it has to be closed. */
function clientOf(registry: string, connection: RegistryConnection, credentials = sourceOf(connection)) {
    const { plainHttp = false, ca, clientCertificate } = connection;
    return new RegistryClient({
        registry,
        plainHttp,
        ...(ca ? { ca } : {}),
        ...(clientCertificate
            ? { clientCert: clientCertificate.certificate, clientKey: clientCertificate.privateKey }
            : {}),
        ...(credentials ? { credentials } : {}),
    });
}

/**
 * Gives access to a repository for the time of `use`. A password, or ECR's token, goes to tools through a private Docker
 * configuration that is removed afterwards, never through their arguments; so does a client certificate's key, as a file.
 *
 * @param repository `registry/path`
 */
export async function withRegistry<T>(
    repository: string,
    connection: RegistryConnection,
    use: (access: RegistryAccess) => Promise<T>,
): Promise<T> {
    const { registry, repository: path } = parseReference(repository);
    const { ca, clientCertificate } = connection;
    const credentials = sourceOf(connection);
    const credential = await passwordOf(credentials, registry);
    const client = clientOf(registry, connection, credentials);
    const access: RegistryAccess = { client, registry, path, plainHttp: connection.plainHttp ?? false, env: {} };
    try {
        const passwords = await passwordsFor(registry, credential, connection);
        if (!passwords && !ca && !clientCertificate) return await use(access);
        return await inTemporaryFolder(async (folder) => {
            const write = (name: string, content: string): string => {
                writeFileAtomic(join(folder, name), content, 0o600);
                return join(folder, name);
            };
            if (ca) {
                access.caFile = write("ca.pem", withPublicAuthorities(ca));
                access.env.SSL_CERT_FILE = access.caFile;
            }
            if (clientCertificate) {
                access.clientCertificate = {
                    certificate: write("client.pem", clientCertificate.certificate),
                    privateKey: write("client-key.pem", clientCertificate.privateKey),
                };
            }
            // buildx would ask the token service itself, and shows it no certificate: the node has what it takes.
            if (ca || clientCertificate) access.env.BUILDKIT_NO_CLIENT_TOKEN = "1";
            if (passwords) {
                await writeDockerConfig(folder, passwords);
                // buildx keeps its builders below Docker's configuration folder unless told otherwise.
                access.env = { ...access.env, DOCKER_CONFIG: folder, BUILDX_CONFIG: storeFolder() };
            }
            return use(access);
        });
    } finally {
        await client.close();
    }
}
