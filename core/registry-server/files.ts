import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

/** A registry on one host: plain values, as operations get them. */
export interface RegistryServerSettings {
    /** Of the units and folders on the host: lower-case letters, digits, `-`. */
    name: string;
    /** `project/stack/name` of who manages it; none where an earlier version of this library set it up. */
    owner?: string;
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

/** A file of a registry: root's, and readable by the registry alone where `group` says so. */
export interface RegistryFile {
    path: string;
    mode: "0644" | "0640" | "0755";
    group: "root" | typeof GROUP;
    content: string;
}

const GROUP = "buildfleet-registry";

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

/** What the registry is started with: a folder of its own, named by its content. */
export function generationOf(settings: RegistryServerSettings): { path: string; files: RegistryFile[] } {
    const { folder, binary } = placesOf(settings);
    const contents = (at: string) => servedFiles(settings, at);
    const id = createHash("sha256")
        .update(JSON.stringify([binary, contents("")]))
        .digest("hex")
        .slice(0, 16);
    const path = `${folder}/${id}`;
    const files = Object.entries(contents(path)).map(([name, content]) => own(`${path}/${name}`, content));
    return { path, files };
}

function servedFiles(settings: RegistryServerSettings, folder: string): Record<string, string> {
    const { tls, hashes, port } = settings;
    const users = Object.entries(hashes).map(([user, hash]) => `${user}:${hash}\n`);
    return {
        "config.yml": configuration(settings, folder, false),
        "read-only.yml": configuration(settings, folder, true),
        ...(users.length > 0 ? { htpasswd: users.join("") } : {}),
        ...(tls ? { "tls.crt": tls.certificate, "tls.key": tls.privateKey } : {}),
        port: `${port}\n`,
    };
}

/** Every file of a registry but its program; the owner's name is the first that is there. */
export function registryFiles(settings: RegistryServerSettings): RegistryFile[] {
    const { unit, folder, scripts } = placesOf(settings);
    const { name, storage, owner, garbageCollection } = settings;
    const filled = (file: string, more: Record<string, string> = {}) => {
        const values: Record<string, string> = {
            ...{ NAME: name, UNIT: unit, FOLDER: folder, SCRIPTS: scripts, STORAGE: storage },
            ...more,
        };
        return read(file).replace(/@([A-Z]+)@/g, (_, key) => (values[key] ?? "").replaceAll("%", "%%"));
    };
    const unitFile = (suffix: string, content: string) => rooted(`/etc/systemd/system/${unit}${suffix}`, content);
    return [
        ...(owner === undefined ? [] : [own(`${folder}/owner`, `${owner}\n`)]),
        ...generationOf(settings).files,
        ...(garbageCollection
            ? [
                  rooted(`${scripts}/gc.sh`, read("gc.sh"), "0755"),
                  rooted(`${scripts}/settings.env`, collection(settings, garbageCollection)),
                  unitFile("-gc.service", filled("gc.service")),
                  unitFile("-gc.timer", filled("gc.timer", { SCHEDULE: garbageCollection.schedule })),
              ]
            : []),
        unitFile(".service", filled("registry.service")),
    ];
}

const own = (path: string, content: string): RegistryFile => ({ path, mode: "0640", group: GROUP, content });
const rooted = (path: string, content: string, mode: RegistryFile["mode"] = "0644"): RegistryFile => ({
    ...{ path, mode, content },
    group: "root",
});

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
    const { unit, folder } = placesOf(settings);
    return shellSettings({
        ...{ NAME: settings.name, UNIT: unit, FOLDER: folder, STORAGE: settings.storage },
        QUIET_SECONDS: `${quietSeconds}`,
    });
}

/** The scripts that the host runs in bash, as root. */
export type RegistryScript = "prepare" | "activate" | "look" | "remove";

export interface ScriptChoices {
    /** Whose registry it may change; `nobody` for one without an owner. Default: the settings' owner. */
    takes?: readonly string[];
    /** Whether `remove` takes the images, too; default false. */
    removeData?: boolean;
}

/** A script with the settings it reads; exit code 3 and a line `owner …` where the registry is another one's. */
export function registryScript(
    script: RegistryScript,
    settings: RegistryServerSettings,
    { takes = settings.owner === undefined ? [] : [settings.owner], removeData = false }: ScriptChoices = {},
): string {
    const { unit, folder, scripts, binaries, binary } = placesOf(settings);
    const { artifact, garbageCollection } = settings;
    const values = {
        ...{ NAME: settings.name, UNIT: unit, FOLDER: folder, SCRIPTS: scripts, BINARIES: binaries, BINARY: binary },
        ...{ STORAGE: settings.storage, URL: artifact.url, SHA256: artifact.sha256 },
        TAKES: takes.join("\n"),
        GENERATION: generationOf(settings).path,
        SCHEDULE: garbageCollection?.schedule ?? "",
        COLLECT: garbageCollection ? "yes" : "",
        CHECK: `${settings.tls ? "https" : "http"}://127.0.0.1:${settings.port}/v2/`,
        FILES: registryFiles(settings)
            .map(({ path }) => path)
            .join("\n"),
        DATA: removeData ? "remove" : "keep",
    };
    const library = script === "look" ? "" : read("lib.sh");
    return `${shellSettings(values)}${library}${read(`${script}.sh`)}`;
}

/** In single quotes, where a shell takes all characters as they are. */
const shellSettings = (values: Record<string, string>) =>
    Object.entries(values)
        .map(([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`)
        .join("");

const read = (name: string) => readFileSync(join(__dirname, "files", name), "utf8");
