// Opens a tunnel and waits to be killed: `node tunnel-child.mjs REGION INSTANCE PORT`. Prints where it listens.

import { createRequire } from "node:module";

const { openTunnel } = createRequire(import.meta.url)("../../dist/drivers/aws/session-manager.js");
const [region, instanceId, port] = process.argv.slice(2);
process.stdout.write(`${await openTunnel({ region, instanceId, port: Number(port) })}\n`);
setInterval(() => undefined, 2 ** 30);
