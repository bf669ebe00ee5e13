import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readBuilder, storeFolder } from "../buildx";
import { withLocks } from "../lock";
import type { RunOptions } from "../process";
import { progress } from "../progress";

/** sockaddr_un.sun_path holds 108 bytes with its zero (unix(7)); some systems have 104. */
const LONGEST_PATH = 103;

/**
 * Where the relay of a builder listens: always the same place, so that what buildx has stored stays right from one run to the
 * next. Beside buildx's own files, or in a private folder of the temporary one where that path is too long for a socket.
 */
export function relayPath(builder: string): string {
    const key = createHash("sha256").update(builder).digest("hex").slice(0, 16);
    const path = join(storeFolder(), "buildfleet", "relays", `${key}.sock`);
    if (Buffer.byteLength(path) <= LONGEST_PATH) return path;
    const store = createHash("sha256").update(storeFolder()).digest("hex").slice(0, 16);
    return join(tmpdir(), `buildfleet-relays-${process.getuid?.() ?? homedir()}`, store, `${key}.sock`);
}

/**
 * The first line of buildx's plain progress about a step: the node has let the build in. Before it there is only `#0`, which tells
 * the builder's name.
 */
const BUILD_BEGINS = /^#[1-9]\d* /;

/** For a build on this builder: its time begins when the node has a place for it, where places are limited. */
export function timedFromPlace(builder: string): Pick<RunOptions, "timedFrom"> {
    return readBuilder(builder)?.endpoint === `unix://${relayPath(builder)}` ? { timedFrom: BUILD_BEGINS } : {};
}

/** Only this user may get to the sockets: who reaches one builds with this user's certificate. */
function makePrivate(folder: string): void {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stat = lstatSync(folder);
    if (!stat.isDirectory() || (process.getuid && stat.uid !== process.getuid()))
        throw new Error(
            `${folder} is no folder of this user; remove it, or set TMPDIR or BUILDX_CONFIG to another place`,
        );
    if ((stat.mode & 0o077) !== 0) chmodSync(folder, 0o700);
}

/** Somebody who listens there, or nothing. */
function knock(path: string): Promise<Socket | undefined> {
    return new Promise((resolve) => {
        const socket = connect(path);
        socket.unref();
        socket.once("connect", () => resolve(socket));
        socket.on("error", () => resolve(undefined));
    });
}

async function listen(server: Server, path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(path, () => {
            server.removeListener("error", reject);
            resolve();
        });
    });
    server.unref();
}

/** A server's place at a path. */
export interface Place {
    /** The path is left to others: nothing more is tried. The server itself is not closed. */
    leave(): void;
}

/**
 * Lets the server listen at the path. Where another process of this user does, a preview beside an update say, the path stays
 * its own as long as it lives, and is taken over then.
 *
 * @param replace takes the path at once; the other one keeps the connections that it has.
 */
export async function listenAt(server: Server, path: string, replace: boolean): Promise<Place> {
    makePrivate(dirname(dirname(path)));
    makePrivate(dirname(path));
    let left = false;
    let watched: Socket | undefined;
    const take = (at: boolean): Promise<void> =>
        withLocks([`relay ${path}`], async () => {
            if (left || server.listening) return;
            watched = at ? undefined : await knock(path);
            if (!watched) return bind(server, path);
            watched.resume().once("close", () => {
                take(false).catch((error: Error) =>
                    progress(`${path} could not be taken over from the process that ended: ${error.message}`, true),
                );
            });
        });
    await take(replace);
    return {
        leave() {
            left = true;
            watched?.destroy();
        },
    };
}

async function bind(server: Server, path: string): Promise<void> {
    const own = `${path.slice(0, -".sock".length)}.${process.pid}`;
    rmSync(own, { force: true });
    await listen(server, own);
    // Node removes the name it listened at when it closes, which is this one: the path itself stays, and is replaced.
    renameSync(own, path);
}
