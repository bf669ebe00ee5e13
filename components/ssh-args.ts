import * as pulumi from "@pulumi/pulumi";
import type { SshTarget } from "../core/ssh-target";

/** How a machine is reached by SSH, with OpenSSH's own client; what is not said here, its configuration says. */
export interface SshArgs {
    /** Name or address. */
    host: pulumi.Input<string>;
    /** Default 22, or what the client's configuration says. */
    port?: pulumi.Input<number>;
    /** Default `root`. */
    user?: pulumi.Input<string>;
    /** Private key without a passphrase, PEM or OpenSSH's own format, a secret; default the agent's keys and the user's own. */
    privateKey?: pulumi.Input<string>;
    /**
     * The host's public key as in known_hosts, without the host: `ssh-ed25519 AAAA…`, one a line; default the user's
     * known_hosts. A host whose key is not known is refused.
     */
    hostKey?: pulumi.Input<string>;
    /** Whether the user becomes root by `sudo`, without a password; default: unless it is `root`. */
    sudo?: pulumi.Input<boolean>;
}

/** The same for a resource, its defaults filled in and the key marked as a secret. */
export function sshTarget({ user = "root", privateKey, ...args }: SshArgs): pulumi.Inputs & pulumi.Input<SshTarget> {
    return {
        ...args,
        user,
        ...(privateKey === undefined ? {} : { privateKey: pulumi.secret(privateKey) }),
        sudo: args.sudo ?? pulumi.output(user).apply((name) => name !== "root"),
    } as pulumi.Inputs & pulumi.Input<SshTarget>;
}
