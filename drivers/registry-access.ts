import { join } from "node:path";
import { parseReference } from "../core/reference";
import type { RegistryConnection } from "../core/registry-connection";
import { ecrCredentials } from "./aws/ecr";
import { storeFolder } from "./buildx";
import { writeFileAtomic } from "./files";
import { type CredentialSource, RegistryClient, staticCredentials, writeDockerConfig } from "./registry";
import { inTemporaryFolder } from "./temporary-folder";

/** One repository as our own client and the tools we start reach it. */
export interface RegistryAccess {
    client: RegistryClient;
    /** `127.0.0.1:5000` */
    registry: string;
    /** `team/app`, without the registry. */
    path: string;
    plainHttp: boolean;
    /** File of the private authority's certificate, where there is one. */
    caFile?: string;
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
 * Gives access to a repository for the time of `use`. A password, or ECR's token, goes to tools through a private Docker
 * configuration that is removed afterwards, never through their arguments.
 *
 * @param repository `registry/path`
 */
export async function withRegistry<T>(
    repository: string,
    connection: RegistryConnection,
    use: (access: RegistryAccess) => Promise<T>,
): Promise<T> {
    const { registry, repository: path } = parseReference(repository);
    const { ca } = connection;
    const plainHttp = connection.plainHttp ?? false;
    const credentials = sourceOf(connection);
    const credential = await passwordOf(credentials, registry);
    const client = new RegistryClient({
        registry,
        plainHttp,
        ...(ca ? { ca } : {}),
        ...(credentials ? { credentials } : {}),
    });
    const access: RegistryAccess = { client, registry, path, plainHttp, env: {} };
    try {
        if (!credential && !ca) return await use(access);
        return await inTemporaryFolder(async (folder) => {
            if (ca) {
                access.caFile = join(folder, "ca.pem");
                writeFileAtomic(access.caFile, ca, 0o600);
                access.env.SSL_CERT_FILE = access.caFile;
            }
            if (credential) {
                await writeDockerConfig(folder, { [registry]: credential });
                // buildx keeps its builders below Docker's configuration folder unless told otherwise.
                access.env = { ...access.env, DOCKER_CONFIG: folder, BUILDX_CONFIG: storeFolder() };
            }
            return use(access);
        });
    } finally {
        await client.close();
    }
}
