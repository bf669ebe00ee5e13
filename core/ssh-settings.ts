import { FormatError } from "./problems";
import { flag, secretText, text, whole } from "./schema";
import { fields } from "./schema-tables";
import { quote } from "./text";

const host = text("a host's name or address", (value) => {
    // Also what OpenSSH refuses, or would take for an option.
    if (!/^[\p{L}\p{N}_:][\p{L}\p{N}_.:%-]{0,252}$/u.test(value)) {
        const hint = value.includes("@") ? "the user has a setting of its own: user" : undefined;
        throw new FormatError(`${quote(value)} is not a host`, '"arm-1.room" or "10.1.0.7"', hint);
    }
    return value;
});

const user = text("a user's name", (value) => {
    if (!/^[A-Za-z_][\w.@\\-]{0,63}$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a user's name`, '"root" or "builder"');
    }
    return value;
});

const hostKey = text('a public key such as "ssh-ed25519 AAAA…"', (value) => {
    for (const line of value.split("\n").filter((part) => part.trim() !== "")) {
        if (!/^(?:ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/]{40,}={0,2}(?: .*)?$/.test(line.trim())) {
            const hint = /PRIVATE KEY/.test(value)
                ? "this is a private key; give the host's public one"
                : /^\S+ (?:ssh-|ecdsa-)/.test(line.trim())
                  ? "leave the host's name out"
                  : undefined;
            throw new FormatError("not a host's public key", '"ssh-ed25519 AAAA…", as ssh-keyscan shows it', hint);
        }
    }
    return value;
});

/** How a machine is reached by SSH; the schema of `SshArgs`. */
export const sshSettings = () =>
    fields({
        host: host.describe("Name or address"),
        port: whole({ min: 1, max: 65_535 }).optional().describe("Its SSH server's port; 22 when unset"),
        user: user.default("root").describe("Who logs in"),
        privateKey: secretText("a private key").optional().describe("A secret; the agent's keys when unset"),
        hostKey: hostKey.optional().describe("The host's public key; the user's known_hosts when unset"),
        sudo: flag().optional().describe("Whether the user becomes root by `sudo`; unless it is root when unset"),
    });
