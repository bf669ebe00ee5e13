import { ReleaseError, type ReleaseFile, readRelease } from "../../drivers/github-release";
import { defineOperations, isUnknown } from "../operations";

export interface Inputs {
    version: string;
    architectures: string[];
    apiUrl: string;
}

interface Artifact {
    url: string;
    sha256: string;
}

interface State extends Inputs {
    artifacts: Record<string, Artifact>;
}

const REPOSITORY = "moby/buildkit";
const tagOf = (version: string) => `v${version.replace(/^v/, "")}`;

function artifactOf(files: ReleaseFile[], inputs: Inputs, architecture: string): Artifact {
    const tag = tagOf(inputs.version);
    const name = `buildkit-${tag}.linux-${architecture}.tar.gz`;
    const file = files.find((one) => one.name === name);
    const where = `${inputs.apiUrl} ${REPOSITORY} ${tag}`;
    const instead = `set buildkit.artifacts.${architecture} to a file and its SHA-256`;
    if (!file) throw new ReleaseError(where, `the release has no file ${name}`, instead);
    const sha256 = /^sha256:([0-9a-f]{64})$/.exec(file.digest ?? "")?.[1];
    if (!sha256)
        throw new ReleaseError(
            where,
            file.digest
                ? `${name} has the digest ${file.digest}, which is no SHA-256`
                : `GitHub states no digest for ${name}`,
            `${instead} that you have checked`,
        );
    return { url: file.url, sha256 };
}

async function read(inputs: Inputs, known: Record<string, Artifact>): Promise<State> {
    const otherwise = "set buildkit.artifacts to files of your own, each with its SHA-256";
    const files = await readRelease(inputs.apiUrl, REPOSITORY, tagOf(inputs.version), otherwise);
    const artifacts = inputs.architectures.map((architecture): [string, Artifact] => [
        architecture,
        known[architecture] ?? artifactOf(files, inputs, architecture),
    ]);
    return { ...inputs, artifacts: Object.fromEntries(artifacts) };
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        return { id: `${REPOSITORY}@${tagOf(inputs.version)}`, outs: await read(inputs, {}) };
    },
    async changes(known, inputs) {
        if (isUnknown(inputs.version) || known.version !== inputs.version) return ["version"];
        if (isUnknown(inputs.architectures)) return ["architectures"];
        const isNew = (architecture: string) => !known.artifacts[architecture];
        return inputs.architectures.some(isNew) ? ["architectures"] : [];
    },
    async update(known, inputs) {
        // What is known of this version stays as it was first seen.
        return read(inputs, known.version === inputs.version ? known.artifacts : {});
    },
});
