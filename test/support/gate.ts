import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheRoot } from "../../drivers/tools";

const SOURCE = `package main

import (
	"io"
	"net"
	"os"
)

func main() {
	connection, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	connection.Write([]byte(os.Getenv("NAME") + "\\n"))
	io.Copy(io.Discard, connection)
}
`;

/** A static program that knocks at a gate, and ends when it is let through; kept in the cache. */
function knocker(): string {
    const version = createHash("sha256").update(SOURCE).digest("hex").slice(0, 8);
    const path = join(cacheRoot(), "test", `knock-${version}`);
    if (existsSync(path)) return path;
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-knock-"));
    try {
        writeFileSync(join(folder, "main.go"), SOURCE);
        execFileSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "knock"), "main.go"], {
            cwd: folder,
            env: { ...process.env, CGO_ENABLED: "0", GO111MODULE: "off" },
        });
        mkdirSync(join(cacheRoot(), "test"), { recursive: true });
        renameSync(join(folder, "knock"), path);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
    return path;
}

/** Builds stop in front of it, in a step that runs on the node, until they are let through. The node shares this machine's network. */
export class Gate {
    /** Names of all that ever knocked, in order. */
    readonly knocked: string[] = [];
    private readonly waiting = new Map<string, Socket>();
    private readonly server = createServer((socket) => this.knock(socket));
    private open = false;
    private check: () => void = () => undefined;

    static async start(): Promise<Gate> {
        const gate = new Gate();
        await new Promise<void>((resolve) => gate.server.listen(0, "127.0.0.1", resolve));
        return gate;
    }

    get address(): string {
        const address = this.server.address();
        if (typeof address !== "object" || !address) throw new Error("the gate does not listen");
        return `127.0.0.1:${address.port}`;
    }

    /** Writes a context whose image stops at this gate as `NAME`, a build argument. */
    writeContext(folder: string): void {
        mkdirSync(folder, { recursive: true });
        execFileSync("cp", [knocker(), join(folder, "knock")]);
        // Without a shell nothing is expanded in an exec form; the program reads its name from the environment.
        const dockerfile = ["FROM scratch", "COPY knock /knock", "ARG NAME", `RUN ["/knock", "${this.address}"]`];
        writeFileSync(join(folder, "Dockerfile"), `${dockerfile.join("\n")}\n`);
    }

    /** Who stands in front of it now. */
    get names(): string[] {
        return [...this.waiting.keys()];
    }

    /** When that many stand in front of it at once. */
    async holds(count: number): Promise<string[]> {
        while (this.waiting.size < count)
            await new Promise<void>((resolve) => {
                this.check = resolve;
            });
        return this.names;
    }

    /** When this one stands in front of it. */
    async holdsOne(name: string): Promise<void> {
        while (!this.waiting.has(name))
            await new Promise<void>((resolve) => {
                this.check = resolve;
            });
    }

    /** Lets one through. */
    pass(name: string): void {
        this.waiting.get(name)?.end();
    }

    /** Lets everybody through from now on. */
    stayOpen(): void {
        this.open = true;
        for (const name of this.names) this.pass(name);
    }

    /** Holds everybody who comes from now on. */
    shut(): void {
        this.open = false;
    }

    close(): void {
        this.server.close();
        for (const socket of this.waiting.values()) socket.destroy();
    }

    private knock(socket: Socket): void {
        let name = "";
        socket.on("error", () => undefined);
        socket.setEncoding("utf8").on("data", (text: string) => {
            name = text.trim();
            this.knocked.push(name);
            this.waiting.set(name, socket);
            if (this.open) socket.end();
            this.check();
        });
        socket.on("close", () => this.waiting.delete(name));
    }
}
