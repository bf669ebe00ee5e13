import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

/** A registry on one host: plain values, as operations get them. */
export interface RegistryServerSettings {
    /** Of the units and folders on the host: lower-case letters, digits, `-`. */
    name: string;
    /** On all addresses. */
    port: number;
    /** The program, or a release's archive (gzip) that has it as `registry`. */
    artifact: { url: string; sha256: string };
    /** Absolute path of the folder that holds the images. */
    storage: string;
    /** PEM; default plain HTTP. */
    tls?: { certificate: string; privateKey: string };
    /** htpasswd's line by user; without any, everybody may push. */
    hashes: Record<string, string>;
    /** Default: garbage stays. */
    garbageCollection?: GarbageCollection;
}

export interface GarbageCollection {
    /** systemd.time(7), "Calendar events". */
    schedule: string;
    /** It begins when nothing was pushed for so long. */
    quietSeconds: number;
}

/** A file of the registry; those that are secret or its own are readable by its group only. */
export interface RegistryFile {
    path: string;
    mode: "0644" | "0640" | "0755";
    content: string;
}

/** Where a registry lives on its host. */
export function placesOf({ name, artifact }: Pick<RegistryServerSettings, "name" | "artifact">) {
    const binaries = `/opt/buildfleet-registry/${name}`;
    return {
        unit: `buildfleet-registry-${name}`,
        folder: `/etc/buildfleet-registry/${name}`,
        scripts: `/usr/local/libexec/buildfleet-registry/${name}`,
        binaries,
        binary: `${binaries}/${artifact.sha256.slice(0, 16)}/registry`,
    };
}

/** Tells whose answer it is, should another program have the port. */
const NAME_HEADER = "X-Buildfleet-Registry";
/** Seconds that requests which run are given when the registry stops. */
const DRAIN_SECONDS = 300;

/** Every file of a registry but its program. */
export function registryFiles(settings: RegistryServerSettings): RegistryFile[] {
    const { unit, folder, scripts, binary } = placesOf(settings);
    const { name, storage, tls, hashes, garbageCollection } = settings;
    const units = "/etc/systemd/system";
    const filled = (file: string, more: Record<string, string> = {}) => {
        const values: Record<string, string> = {
            ...{ NAME: name, UNIT: unit, FOLDER: folder, SCRIPTS: scripts, BINARY: binary, STORAGE: storage },
            ...more,
        };
        return read(file).replace(/@([A-Z]+)@/g, (_, key) => (values[key] ?? "").replaceAll("%", "%%"));
    };
    const users = Object.entries(hashes).map(([user, hash]) => `${user}:${hash}\n`);
    return [
        { path: `${folder}/config.yml`, mode: "0640", content: configuration(settings, folder, false) },
        { path: `${folder}/read-only.yml`, mode: "0640", content: configuration(settings, folder, true) },
        ...(users.length > 0 ? [secret(`${folder}/htpasswd`, users.join(""))] : []),
        ...(tls ? [secret(`${folder}/tls.crt`, tls.certificate), secret(`${folder}/tls.key`, tls.privateKey)] : []),
        {
            path: `${units}/${unit}.service`,
            mode: "0644",
            content: filled("registry.service", { PORT: `${settings.port}` }),
        },
        ...(garbageCollection
            ? ([
                  { path: `${scripts}/gc.sh`, mode: "0755", content: read("gc.sh") },
                  { path: `${scripts}/settings.env`, mode: "0644", content: collection(settings, garbageCollection) },
                  { path: `${units}/${unit}-gc.service`, mode: "0644", content: filled("gc.service") },
                  {
                      path: `${units}/${unit}-gc.timer`,
                      mode: "0644",
                      content: filled("gc.timer", { SCHEDULE: garbageCollection.schedule }),
                  },
              ] as const)
            : []),
    ];
}

const secret = (path: string, content: string): RegistryFile => ({ path, mode: "0640", content });

/** What a registry has to be started anew for. */
function registryStamp(settings: RegistryServerSettings): string {
    const served = registryFiles(settings).filter(({ path }) => !/gc\.|settings\.env$/.test(path));
    return createHash("sha256")
        .update(JSON.stringify([settings.artifact.sha256, served]))
        .digest("hex");
}

/** distribution's configuration (docs/content/about/configuration.md). */
function configuration(settings: RegistryServerSettings, folder: string, readOnly: boolean): string {
    const { port, storage, tls, hashes, name } = settings;
    return stringify({
        version: 0.1,
        log: { level: "info", accesslog: { disabled: true } },
        storage: {
            filesystem: { rootdirectory: storage },
            delete: { enabled: true },
            maintenance: {
                uploadpurging: { enabled: true, age: "168h", interval: "24h", dryrun: false },
                ...(readOnly ? { readonly: { enabled: true } } : {}),
            },
        },
        http: {
            addr: `:${port}`,
            draintimeout: `${DRAIN_SECONDS}s`,
            headers: { "X-Content-Type-Options": ["nosniff"], [NAME_HEADER]: [name] },
            ...(tls ? { tls: { certificate: `${folder}/tls.crt`, key: `${folder}/tls.key` } } : {}),
        },
        ...(Object.keys(hashes).length > 0 ? { auth: { htpasswd: { realm: name, path: `${folder}/htpasswd` } } } : {}),
    });
}

function collection(settings: RegistryServerSettings, { quietSeconds }: GarbageCollection): string {
    const { unit, folder, binary } = placesOf(settings);
    return shellSettings({
        ...{ NAME: settings.name, UNIT: unit, FOLDER: folder, BINARY: binary, STORAGE: settings.storage },
        QUIET_SECONDS: `${quietSeconds}`,
    });
}

/** The scripts that the host runs in bash, as root. */
export type RegistryScript = "prepare" | "activate" | "look" | "remove";

/** A script with the settings it reads. */
export function registryScript(
    script: RegistryScript,
    settings: RegistryServerSettings,
    { removeData = false } = {},
): string {
    const { unit, folder, scripts, binaries, binary } = placesOf(settings);
    const { artifact, garbageCollection } = settings;
    const values = {
        ...{ NAME: settings.name, UNIT: unit, FOLDER: folder, SCRIPTS: scripts, BINARIES: binaries, BINARY: binary },
        ...{ STORAGE: settings.storage, URL: artifact.url, SHA256: artifact.sha256 },
        SCHEDULE: garbageCollection?.schedule ?? "",
        COLLECT: garbageCollection ? "yes" : "",
        STAMP: registryStamp(settings),
        CHECK: `${settings.tls ? "https" : "http"}://127.0.0.1:${settings.port}/v2/`,
        FILES: registryFiles(settings)
            .map(({ path }) => path)
            .join("\n"),
        DATA: removeData ? "remove" : "keep",
    };
    return `${shellSettings(values)}${read(`${script}.sh`)}`;
}

/** In single quotes, where a shell takes all characters as they are. */
const shellSettings = (values: Record<string, string>) =>
    Object.entries(values)
        .map(([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`)
        .join("");

const read = (name: string) => readFileSync(join(__dirname, "files", name), "utf8");
