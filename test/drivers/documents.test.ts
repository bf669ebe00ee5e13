import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { stringify } from "yaml";
import { fetchDocument, forgetDocument, storeDocument } from "../../drivers/documents";
import { run } from "../../drivers/process";
import { withRegistry } from "../../drivers/registry-access";
import { findTool } from "../../drivers/tools";
import { freePort } from "../support/port";
import { type RunningRegistry, startRegistry } from "../support/registry";

let folder: string;
let server: RunningRegistry;

beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "documents-"));
    server = await startRegistry({ storage: join(folder, "storage"), address: `127.0.0.1:${await freePort()}` });
});
afterEach(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true });
});

it("keeps a document that the registry's garbage collection leaves alone, for a machine that never had it", async () => {
    const bytes = Buffer.from(JSON.stringify({ packages: [randomUUID()] }));
    const repository = `${server.registry}/app`;
    const connection = { plainHttp: true };
    const stored = await withRegistry(repository, connection, (access) => storeDocument(access, bytes));

    await server.stop();
    const configuration = join(folder, "config.yml");
    const storage = { filesystem: { rootdirectory: join(folder, "storage") } };
    writeFileSync(configuration, stringify({ version: 0.1, storage }));
    await run(findTool("registry"), ["garbage-collect", configuration]);
    server = await startRegistry({ storage: join(folder, "storage"), address: server.registry });

    forgetDocument(stored.digest);
    await withRegistry(repository, connection, async (access) => {
        const path = await fetchDocument(access, stored.digest);
        expect(readFileSync(path)).toEqual(bytes);
    });
    forgetDocument(stored.digest);
});
