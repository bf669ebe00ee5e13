import { nodeMismatch, type RegistryFacts } from "../../core/node-registries";
import { parseReference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import { RegistryError } from "../../drivers/registry";
import { withRegistry } from "../../drivers/registry-access";
import { clientTokenProblem, toolTokenProblem } from "../../drivers/token-client";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    /** `registry/path` */
    repository: string;
    connection: RegistryConnection;
    /** What the nodes were told of the registry; null where that is not known. */
    told: RegistryFacts | null;
    /** Of nodes that were each told by themselves, by name. */
    toldEach: Record<string, RegistryFacts>;
}

interface State extends Inputs {
    checked: string;
}

/** No manifest has it; asked for, it shows whether the registry lets us in. */
const NOBODYS_DIGEST = `sha256:${"0".repeat(64)}`;

/** What is to be set, by what went wrong; anything else says so itself. */
function nextFor({ code, next }: RegistryError, registry: string, { username }: RegistryConnection): string {
    if (code === "UNAUTHORIZED" && username !== undefined) {
        return `set username and password of ${registry} to ones that it accepts; a token may have expired`;
    }
    if (code === "UNAUTHORIZED") return `set username and password of ${registry}, or run "docker login ${registry}"`;
    if (code === "DENIED") return `give ${username ?? "these credentials"} the right to push there`;
    if (code === "NOT_FOUND") return "make the project or repository, or correct pathPrefix";
    return next;
}

async function explained<T>({ repository, connection }: Inputs, ask: () => Promise<T>): Promise<T> {
    try {
        return await ask();
    } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
        const { registry } = parseReference(repository);
        const where = error.url === undefined ? "" : `${error.method} ${error.url}: `;
        throw refusal(repository, `${where}${error.reason}`, nextFor(error, registry, connection), error);
    }
}

const refusal = (repository: string, reason: string, next: string, cause?: Error) =>
    new Error(`${repository} can't be released to; nothing was built\n  ${reason}\nnext: ${next}`, { cause });

/** @throws Error with what to set; of several nodes that were told otherwise, all of them. */
function checkNodes({ repository, connection, told, toldEach }: Inputs): void {
    const { registry } = parseReference(repository);
    const facts = {
        http: connection.plainHttp ?? false,
        ca: connection.ca !== undefined,
        clientCertificate: connection.clientCertificate !== undefined,
    };
    const mismatch = told ? nodeMismatch(registry, facts, told) : undefined;
    if (mismatch !== undefined) {
        const next = "give the fleet the connection's own settings: registries: registry.nodeSettings";
        throw refusal(repository, mismatch, next);
    }
    const each = Object.entries(toldEach).flatMap(
        ([name, node]) => nodeMismatch(registry, facts, node, `node ${name}`) ?? [],
    );
    if (each.length > 0) {
        const next = "give these nodes the connection's own settings: docker: { registries: registry.nodeSettings }";
        throw refusal(repository, each.join("\n  "), next);
    }
}

/** Whether the build's client and the tools, whose ways are their own, can get a token. */
async function checkTokenService({ repository, connection }: Inputs): Promise<void> {
    const { registry } = parseReference(repository);
    const service = await withRegistry(repository, connection, ({ client }) => client.tokenService());
    if (!service) return;
    const problem = toolTokenProblem(registry, service) ?? (await clientTokenProblem(registry, service, connection));
    if (problem) throw refusal(repository, problem.reason, problem.next);
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        await explained(inputs, async () => {
            await withRegistry(inputs.repository, inputs.connection, ({ client, path }) => client.checkPush(path));
            await checkTokenService(inputs);
        });
        checkNodes(inputs);
        return { id: inputs.repository, outs: { ...inputs, checked: inputs.repository } };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs);
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        try {
            await withRegistry(inputs.repository, inputs.connection, ({ client, path }) =>
                client.headManifest(path, NOBODYS_DIGEST),
            );
            return [];
        } catch (error) {
            // Asked again, and told, by the update.
            if (error instanceof RegistryError) return ["checked"];
            throw error;
        }
    },
});
