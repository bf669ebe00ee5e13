import { randomBytes } from "node:crypto";
import { generateKeyPair } from "../../drivers/cosign";
import { defineOperations } from "../operations";

interface Inputs {
    /** Changing it makes a new key. */
    generation: number;
}

interface State extends Inputs {
    privateKey: string;
    password: string;
    publicKey: string;
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["generation"],
    async create(inputs) {
        const password = randomBytes(24).toString("base64url");
        return { id: "signing-key", outs: { ...inputs, password, ...(await generateKeyPair(password)) } };
    },
});
