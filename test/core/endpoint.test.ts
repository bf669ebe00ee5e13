import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Endpoint, parseEndpoint } from "../../core/endpoint";
import { FormatError } from "../../core/problems";
import { dialCommand } from "../../drivers/relay";

const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}(?:-[a-z0-9]{1,4})?$/);
const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(word, fc.ipV4(), fc.ipV6());
const path = fc.array(word, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
const optional = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });

const endpoint: fc.Arbitrary<Endpoint> = fc.oneof(
    fc.record({ kind: fc.constant("tcp" as const), host: address, port }),
    fc.record({ kind: fc.constant("unix" as const), path }),
    fc.record({
        kind: fc.constant("ssh" as const),
        host: address,
        user: optional(word),
        port: optional(port),
        socket: optional(path),
    }),
    fc.record({ kind: fc.constant("docker-container" as const), container: word, context: optional(word) }),
    fc.record({
        kind: fc.constant("kube-pod" as const),
        pod: word,
        context: optional(word),
        namespace: optional(word),
        container: optional(word),
    }),
) as fc.Arbitrary<Endpoint>;

const hostOf = (host: string) => (host.includes(":") ? `[${host}]` : host);
const queryOf = (parameters: Record<string, string | undefined>) => {
    const set = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return set.length > 0 ? `?${new URLSearchParams(set)}` : "";
};

/** As it is written. */
function format(one: Endpoint): string {
    switch (one.kind) {
        case "tcp":
            return `tcp://${hostOf(one.host)}:${one.port}`;
        case "unix":
            return `unix://${one.path}`;
        case "ssh":
            return `ssh://${one.user ? `${one.user}@` : ""}${hostOf(one.host)}${one.port ? `:${one.port}` : ""}${one.socket ?? ""}`;
        case "docker-container":
            return `docker-container://${one.container}${queryOf({ context: one.context })}`;
        default: {
            const { pod, context, namespace, container } = one;
            return `kube-pod://${pod}${queryOf({ context, namespace, container })}`;
        }
    }
}

describe("an endpoint", () => {
    it("is read as it was written", () => {
        fc.assert(
            fc.property(endpoint, (one) => {
                expect(parseEndpoint(format(one))).toEqual(JSON.parse(JSON.stringify(one)));
            }),
        );
    });

    it("is read, or refused with what would be right, whatever it is", () => {
        const scheme = fc.constantFrom("tcp", "unix", "ssh", "docker-container", "kube-pod", "http", "npipe", "");
        fc.assert(
            fc.property(scheme, fc.string({ maxLength: 30 }), (before, rest) => {
                try {
                    const command = dialCommand(parseEndpoint(`${before}://${rest}`)) ?? [];
                    // What a remote shell, or the tool itself, would take for something else never gets that far.
                    for (const part of command.slice(1)) expect(part).toMatch(/^[\w@%+=:,./\\-]*$/);
                } catch (error) {
                    expect(error).toBeInstanceOf(FormatError);
                }
            }),
            { numRuns: 2_000 },
        );
    });

    it.each([
        ["builder:1234", "tcp://builder:1234"],
        ["tcp://builder", "a port, too"],
        ["tcp://builder:0", "a port from 1 to 65535"],
        ["tcp://builder:1234/x", "a host's name"],
        ["unix://run/buildkitd.sock", "an absolute path"],
        ["ssh://ci:secret@builder", "use a key"],
        ["ssh://-oProxyCommand=x", "a host's name"],
        ["ssh://builder/run/$(id)", "letters, digits"],
        ["ssh://builder?x=1", "nothing after the host"],
        ["docker-container://--privileged", "the name of a container"],
        ["docker-container://builder?namespace=x", "only context"],
        ["kube-pod://Builder", "the name of a pod"],
        ["kube-pod://builder?namespace=$(id)", "a name as namespace"],
        ["https://builder:1234", 'an endpoint such as "tcp://'],
    ])("%s is refused, and %s is the way out", (text, fix) => {
        expect(() => parseEndpoint(text)).toThrow(fix);
    });

    it("never repeats a password", () => {
        for (const text of ["ssh://ci:s3cr3t@builder", "https://ci:s3cr3t@builder", "ssh://ci:s3@cr3t@builder"]) {
            expect(() => parseEndpoint(text)).toThrow(FormatError);
            expect(() => parseEndpoint(text)).not.toThrow(/s3/);
        }
    });
});
