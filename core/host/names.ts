import { BUILDKIT_PORT, type HostSettings } from "./settings";

/** What a builder has of its own on its machine: where its files are, and what its units and devices are called. */
export interface HostNames {
    /** Folder of the settings, certificates, and of what a removal has to know. */
    configuration: string;
    /** Folder of the scripts. */
    scripts: string;
    /** Folder of BuildKit's caches. */
    root: string;
    /** Folder of BuildKit's sockets. */
    sockets: string;
    /** Of the build steps' containers. */
    bridge: string;
    /** Control group of BuildKit and its build steps, where there are limits. */
    slice: string;
    /** Who BuildKit runs as where it is rootless. */
    user: string;
    /** On which BuildKit answers clients. */
    port: number;
    /** A text of `files/`, or a unit's name, with these names in place of those of a machine's first builder. */
    rename(text: string): string;
}

export type InstanceSettings = Pick<HostSettings, "instance" | "port">;

/** An instance's name: up to 12 letters and digits. A device's name has at most 15 characters, and the bridge is `bf_<instance>`. */
export const INSTANCE = /^[a-z][a-z0-9]{0,11}$/;

/**
 * Names of an instance. The one without a name has those that the files in `files/` use, and they stay as they are: to a builder that
 * is there already, and to EC2's user data, another name would be another builder.
 *
 * Instances have an underscore where others have a dash or nothing: no pattern of one's files fits another's, and systemd, which
 * reads dashes as levels, puts no slice into another one.
 */
export function hostNames({ instance, port = BUILDKIT_PORT }: InstanceSettings): HostNames {
    const own = instance === undefined ? "" : `_${instance}`;
    const bridge = instance === undefined ? "buildfleet0" : `bf_${instance}`;
    // Not what is in a pattern for all builders of a machine ("buildfleet?(_*)"), and not a registry's.
    const renamed: [RegExp, string][] = [
        [/(\/(?:etc|run|opt|usr\/local\/libexec)\/buildfleet)(?![\w?-])/g, `$1${own}`],
        [/(\/(?:var\/lib|run)\/buildkit)(?![\w-])/g, `$1${own}`],
        [/\bbuildkitd\.service\b/g, `buildkitd${own}.service`],
        [/\bbuildfleet-(?!registry)/g, `buildfleet${own}-`],
        [/\bbuildfleet\.slice\b/g, `buildfleet${own}.slice`],
        [/^User=buildfleet$/gm, `User=buildfleet${own}`],
        [/^Description=buildfleet:/gm, `Description=buildfleet ${instance}:`],
        [/\bbuildfleet0\b/g, bridge],
    ];
    const rename = (text: string) => {
        const named =
            instance === undefined ? text : renamed.reduce((it, [what, name]) => it.replace(what, name), text);
        return port === BUILDKIT_PORT ? named : named.replace(/\b8372\b/g, `${port}`);
    };
    return {
        configuration: rename("/etc/buildfleet"),
        scripts: rename("/usr/local/libexec/buildfleet"),
        root: rename("/var/lib/buildkit"),
        sockets: rename("/run/buildkit"),
        slice: rename("buildfleet.slice"),
        user: `buildfleet${own}`,
        bridge,
        port,
        rename,
    };
}
