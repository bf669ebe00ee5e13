import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../../drivers/port";

describe("a port of this machine", () => {
    const open: Server[] = [];
    const listen = (port: number) =>
        new Promise<void>((resolve, reject) => {
            const server = createServer().once("error", reject);
            open.push(server.listen(port, "127.0.0.1", resolve));
        });
    afterEach(async () => {
        await Promise.all(open.splice(0).map((server) => new Promise((done) => server.close(done))));
    });

    it("is none that the system may give to a connection at any moment", async () => {
        const [first = 0] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/).map(Number);
        const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
        expect(Math.min(...ports)).toBeGreaterThanOrEqual(20_000);
        // A machine that gives them all to connections has no others.
        if (first > 20_000) expect(Math.max(...ports)).toBeLessThan(first);
        else expect(Math.max(...ports)).toBeLessThan(65_536);
        expect(new Set(ports).size).toBe(200);
    });

    it("can be listened on", async () => {
        for (let i = 0; i < 20; i++) await listen(await freePort());
    });

    it("that was asked for is that one, or an error that says what to do", async () => {
        const port = await freePort();
        expect(await freePort(port)).toBe(port);
        await listen(port);
        await expect(freePort(port)).rejects.toThrow(
            `port ${port} on 127.0.0.1 is taken by another process; free it or set another port`,
        );
    });
});
