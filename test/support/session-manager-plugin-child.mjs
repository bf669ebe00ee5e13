// Stands in for AWS's session-manager-plugin: takes the same arguments and variable, prints the same lines, and really
// forwards TCP from the local port to where the session's stream URL says, which here is plain TCP and no websocket.
// STAND_IN_VERSION: what --version says. STAND_IN_LOG: a file that gets a line for each start and each orderly end.
// STAND_IN_MODE: "deaf" ignores SIGINT, "broken" ends before it listens.

import { appendFileSync } from "node:fs";
import { connect, createServer } from "node:net";

const { STAND_IN_VERSION = "1.2.707.0", STAND_IN_LOG = "/dev/null", STAND_IN_MODE = "" } = process.env;
const [response = "", region, operation, , request = "", endpoint] = process.argv.slice(2);
const log = (/** @type {object} */ line) => appendFileSync(STAND_IN_LOG, `${JSON.stringify(line)}\n`);

if (response === "--version") {
    process.stdout.write(`${STAND_IN_VERSION}\n`);
    process.exit(0);
}
if (operation !== "StartSession") {
    process.stdout.write("Invalid Operation");
    process.exit(0);
}
const { SessionId, StreamUrl, TokenValue } = JSON.parse(
    response.startsWith("AWS_SSM_START_SESSION_RESPONSE") ? (process.env[response] ?? "") : response,
);
const { Parameters } = JSON.parse(request);
log({ event: "start", pid: process.pid, argv: process.argv.slice(2), region, endpoint, SessionId, TokenValue });
process.stdout.write(`\nStarting session with SessionId: ${SessionId}\n`);
if (STAND_IN_MODE === "broken") {
    process.stdout.write(`Cannot perform start session: ${TokenValue} was refused\n`);
    process.exit(0);
}
process.on("SIGINT", () => {
    if (STAND_IN_MODE === "deaf") return;
    process.stdout.write("Terminate signal received, exiting.\n");
    log({ event: "terminated", SessionId });
    process.exit(0);
});
const far = new URL(StreamUrl);
const server = createServer((near) => {
    const away = connect(Number(far.port), far.hostname);
    near.pipe(away).pipe(near);
    for (const socket of [near, away]) socket.on("error", () => [near, away].forEach((one) => void one.destroy()));
});
server.on("error", (/** @type {Error} */ error) => {
    process.stdout.write(`Cannot perform start session: ${error.message.replace("EADDRINUSE: ", "")}\n`);
    process.exit(0);
});
server.listen(Number(Parameters.localPortNumber[0]), process.env.SSM_PLUGIN_LOCAL_HOST ?? "localhost", () => {
    const port = Parameters.localPortNumber[0];
    process.stdout.write(`Port ${port} opened for sessionId ${SessionId}.\nWaiting for connections...\n`);
});
