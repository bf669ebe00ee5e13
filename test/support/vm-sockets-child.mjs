// Lives in a network namespace of its own and keeps it alive: opens the sockets that its parent asks for there, and hands
// them over. A socket stays in the namespace that it was opened in, whoever accepts from it.

import { createServer } from "node:net";

process.on("message", (/** @type {{id: number, address: string, port: number}} */ { id, address, port }) => {
    const server = createServer();
    server.once("error", (error) => process.send?.({ id, error: error.message }));
    // Handed over, it is closed here, or this process would take every second connection.
    server.listen({ port, host: address }, () => process.send?.({ id }, server, () => server.close()));
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
