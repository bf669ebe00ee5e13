import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const FIRST = 20_000;
const TRIES = 100;

/** Not given again by this process: who was given one may not listen yet. */
const given = new Set<number>();

/**
 * Where the system's own choices begin, from `ip_local_port_range` (ip(7)): it takes them for any connection that goes out, so that
 * a port from there may be gone between our look and the start of who is to have it, and again after a restart.
 */
function firstEphemeral(): number {
    try {
        return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/)[0]);
    } catch {
        return 0;
    }
}

/** The port of 127.0.0.1 that was bound and given back, or nothing where it is taken; 0 is the system's choice. */
export function tryPort(port: number): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.once("error", (error: NodeJS.ErrnoException) =>
            error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
        );
        server.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
            const address = server.address();
            server.close(() => resolve(typeof address === "object" && address ? address.port : port));
        });
    });
}

/**
 * A port on 127.0.0.1 that nothing listens on now: the wanted one, or, where that is 0, any from 20,000 up to those that the
 * system gives to connections going out, and another one each time.
 *
 * @throws Error when the wanted one is taken.
 */
export async function freePort(wanted = 0): Promise<number> {
    if (wanted !== 0) {
        const port = await tryPort(wanted);
        if (port !== undefined) return port;
        throw new Error(`port ${wanted} on 127.0.0.1 is taken by another process; free it or set another port`);
    }
    const end = firstEphemeral();
    for (let tries = 0; end > FIRST && tries < TRIES; tries++) {
        const candidate = randomInt(FIRST, end);
        if (given.has(candidate)) continue;
        given.add(candidate);
        if (await tryPort(candidate)) return candidate;
    }
    const port = await tryPort(0);
    if (port === undefined) throw new Error("no port on 127.0.0.1 is free");
    return port;
}
