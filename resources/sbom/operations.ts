import { readFileSync } from "node:fs";
import type { RegistryConnection } from "../../core/registry-connection";
import { forgetDocument, type StoredDocument, storeDocument } from "../../drivers/documents";
import { withRegistry } from "../../drivers/registry-access";
import { generateSbom } from "../../drivers/syft";
import { inTemporaryFolder } from "../../drivers/temporary-folder";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    platform: string;
    digest: string;
}

interface State extends Inputs {
    spdx: StoredDocument;
    syft: StoredDocument;
    packages: number;
}

async function generate(inputs: Inputs): Promise<State> {
    return withRegistry(inputs.repository, inputs.connection, (access) =>
        inTemporaryFolder(async (outDir) => {
            const sbom = await generateSbom({
                reference: `${inputs.repository}@${inputs.digest}`,
                platform: inputs.platform,
                outDir,
                plainHttp: access.plainHttp,
                ca: access.caFile,
                clientCertificate: access.clientCertificate,
                dockerConfig: access.env.DOCKER_CONFIG,
            });
            const [spdx, syft] = await Promise.all(
                [sbom.spdxJsonPath, sbom.syftJsonPath].map((path) => storeDocument(access, readFileSync(path))),
            );
            if (!spdx || !syft) throw new Error("unreachable");
            return { ...inputs, spdx, syft, packages: sbom.packages };
        }),
    );
}

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        return { id: `${inputs.platform}@${inputs.digest}`, outs: await generate(inputs) };
    },
    async update(state, inputs) {
        const next = await generate(inputs);
        await operations.delete("", state);
        return next;
    },
    async delete(state) {
        forgetDocument(state.spdx.digest);
        forgetDocument(state.syft.digest);
    },
});
