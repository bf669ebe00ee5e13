/** A machine that is reached by OpenSSH's own client; what is not said here, its configuration says (`ProxyJump` for one). */
export interface SshTarget {
    host: string;
    /** Default 22, or what the client's configuration says. */
    port?: number;
    user: string;
    /** Without a passphrase, PEM or OpenSSH's own format, a secret; default the agent's keys and the user's. */
    privateKey?: string;
    /** As in known_hosts, without the host: `ssh-ed25519 AAAA…`, one a line; default the user's known_hosts. */
    hostKey?: string;
    /** Whether scripts and files need `sudo` to be root's; default false. */
    sudo?: boolean;
}
