import { FormatError } from "./problems";
import { quote } from "./text";

/** Where a BuildKit daemon is reached, in the words of buildx's remote driver (docker/buildx: driver/remote/util). */
export type Endpoint =
    /** `tcp://host:port`; mutual TLS. */
    | { kind: "tcp"; host: string; port: number }
    /** `unix:///path`; who may open the socket is let in, so there is no TLS. */
    | { kind: "unix"; path: string }
    /** `ssh://[user@]host[:port][/path/of/the/socket]`; `buildctl` has to be on the PATH of that user. */
    | { kind: "ssh"; host: string; user?: string; port?: number; socket?: string }
    /** `docker-container://name[?context=…]` */
    | { kind: "docker-container"; container: string; context?: string }
    /** `kube-pod://pod[?context=…&namespace=…&container=…]` */
    | { kind: "kube-pod"; pod: string; context?: string; namespace?: string; container?: string };

const KINDS = ["tcp", "unix", "ssh", "docker-container", "kube-pod"];

export const endpointExpected =
    'an endpoint such as "tcp://builder:1234", "ssh://user@builder", "unix:///run/buildkit/buildkitd.sock", ' +
    '"docker-container://name" or "kube-pod://pod"';

/** `[host]:port`; a name, an IPv4 address or an IPv6 address in brackets. */
const HOST =
    /^(?:\[(?<v6>[0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|(?<name>[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?))(?::(?<port>\d{1,5}))?$/;
/** A remote shell reads the socket's path, and these mean nothing to it. */
const PATH = /^\/[\w./@+:-]+$/;
const DOCKER_NAME = /^[A-Za-z0-9][\w.-]*$/;
/** moby/buildkit: client/connhelper/kubepod, `validKubeIdentifier`; a name starts with no hyphen. */
const KUBE_NAME = /^[a-z0-9.][a-z0-9.-]*$/;
const CONTEXT = /^[\w@][\w@:/.+-]*$/;

/**
 * Reads an endpoint.
 *
 * @throws FormatError where it is none; a password in it is not repeated.
 */
export function parseEndpoint(text: string): Endpoint {
    const [, scheme = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? [];
    if (!KINDS.includes(scheme)) {
        const hint = /^[\w.-]+:\d+$/.test(text) ? `write ${quote(`tcp://${text}`)}` : undefined;
        throw new FormatError(`${quote(withoutPassword(text))} is not an endpoint`, endpointExpected, hint);
    }
    const wrong = (expected: string) => new FormatError(`${quote(withoutPassword(text))} can't be read`, expected);
    const [place = "", query, ...more] = rest.split("?");
    if (more.length > 0 || rest.includes("#")) throw wrong(endpointExpected);
    const parameters = query === undefined ? {} : readQuery(query, scheme, wrong);
    switch (scheme) {
        case "tcp":
            return readTcp(place, wrong);
        case "unix":
            if (!place.startsWith("/")) throw wrong('an absolute path: "unix:///run/buildkit/buildkitd.sock"');
            return { kind: "unix", path: place };
        case "ssh":
            return readSsh(text, place, wrong);
        case "docker-container":
            if (!DOCKER_NAME.test(place)) throw wrong('the name of a container: "docker-container://buildkitd"');
            return { kind: "docker-container", container: place, ...parameters };
        default:
            if (!KUBE_NAME.test(place)) throw wrong('the name of a pod: "kube-pod://buildkitd-0?namespace=ci"');
            return { kind: "kube-pod", pod: place, ...parameters };
    }
}

type Wrong = (expected: string) => FormatError;

function readHost(place: string, wrong: Wrong): { host: string; port?: number } {
    const { v6, name, port } = HOST.exec(place)?.groups ?? {};
    const host = v6 ?? name;
    if (host === undefined) throw wrong('a host\'s name or address, an IPv6 address in brackets: "[fd00::1]"');
    if (port === undefined) return { host };
    if (Number(port) < 1 || Number(port) > 65_535) throw wrong("a port from 1 to 65535");
    return { host, port: Number(port) };
}

function readTcp(place: string, wrong: Wrong): Endpoint {
    const { host, port } = readHost(place, wrong);
    if (port === undefined) throw wrong('a port, too: "tcp://builder:1234"');
    return { kind: "tcp", host, port };
}

function readSsh(text: string, place: string, wrong: Wrong): Endpoint {
    const at = place.lastIndexOf("@");
    const user = at < 0 ? undefined : place.slice(0, at);
    if (user?.includes(":"))
        throw new FormatError(`${quote(withoutPassword(text))} has a password`, "a user without one", "use a key");
    if (user !== undefined && !/^\w[\w.@\\+-]*$/.test(user)) throw wrong("a user's name before the @");
    const address = place.slice(at + 1);
    const slash = address.indexOf("/");
    const socket = slash < 0 || address.slice(slash) === "/" ? undefined : address.slice(slash);
    if (socket !== undefined && !PATH.test(socket))
        throw wrong('the socket\'s path, of letters, digits and ./_@+:- : "ssh://user@builder/run/buildkitd.sock"');
    const { host, port } = readHost(slash < 0 ? address : address.slice(0, slash), wrong);
    return { kind: "ssh", host, ...defined({ user, port, socket }) };
}

const PARAMETERS: Record<string, Record<string, RegExp>> = {
    "docker-container": { context: CONTEXT },
    "kube-pod": { context: CONTEXT, namespace: KUBE_NAME, container: KUBE_NAME },
};

function readQuery(query: string, scheme: string, wrong: Wrong): Record<string, string> {
    const known = PARAMETERS[scheme] ?? {};
    const names = Object.keys(known);
    const result: Record<string, string> = {};
    for (const [name, value] of new URLSearchParams(query)) {
        if (!known[name])
            throw wrong(names.length > 0 ? `after the ? only ${names.join(", ")}` : "nothing after the host (no ?)");
        if (!known[name].test(value)) throw wrong(`a name as ${name}`);
        result[name] = value;
    }
    return result;
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
    return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
        [K in keyof T]: Exclude<T[K], undefined>;
    };
}

const withoutPassword = (text: string) => text.replace(/^([^/]*:\/\/[^/@:]*):.*@/, "$1:…@");

/** Whether clients show a certificate there: BuildKit has TLS on TCP only (cmd/buildkitd, `getListener`). */
export const usesTls = (endpoint: string): boolean => endpoint.startsWith("tcp://");
