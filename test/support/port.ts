import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { tryPort } from "../../drivers/port";

/** Below those that the project chooses itself and those that the system gives to connections going out. */
const [FIRST, END] = [10_000, 20_000];

/** A name that one process of the machine has at a time, until it ends (unix(7), abstract sockets). */
function reserve(name: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.once("error", (error: NodeJS.ErrnoException) =>
            error.code === "EADDRINUSE" ? resolve(false) : reject(error),
        );
        server.listen(`\0${name}`, () => resolve(true)).unref();
    });
}

/**
 * A port of 127.0.0.1 that nobody listens on, and that no other test gets while this file runs: what is to listen there is
 * often another process, seconds later.
 */
export async function freePort(): Promise<number> {
    for (;;) {
        const port = randomInt(FIRST, END);
        if (!(await reserve(`buildfleet-test-port-${port}`))) continue;
        // What is taken is somebody's who knows nothing of tests.
        if (await tryPort(port)) return port;
    }
}
