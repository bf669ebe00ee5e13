import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { freePort, tryPort } from "../port";
import { progress } from "../progress";
import { withAws } from "./clients";
import { AwsError } from "./errors";
import {
    findPlugin,
    PLUGIN,
    type PluginProcess,
    type Session,
    startPlugin,
    TunnelError,
    type TunnelTarget,
} from "./session-manager-plugin";

interface Tunnel extends PluginProcess {
    sessionId: string;
    localPort: number;
    closing: boolean;
}

const DOCUMENT = "AWS-StartPortForwardingSession";
const OPEN_MS = 30_000;

const tunnels = new Map<string, Promise<Tunnel>>();
const keyOf = ({ region, instanceId, port }: TunnelTarget) => `${region}/${instanceId}/${port}`;

/**
 * The port on this machine that a target gets: always the same, so that what buildx has stored stays right from one run
 * to the next. Below the ports that systems give away by themselves.
 */
export function stablePort(target: TunnelTarget): number {
    return 20_000 + (createHash("sha256").update(keyOf(target)).digest().readUInt32BE(0) % 12_000);
}

/**
 * The way to a port of an instance, as `tcp://127.0.0.1:PORT`. It is opened when first asked for, opened again should it end
 * by itself, and ends with this process, however that ends.
 *
 * @throws TunnelError, AwsError
 */
export async function openTunnel(target: TunnelTarget): Promise<string> {
    const key = keyOf(target);
    let tunnel = tunnels.get(key);
    if (!tunnel) {
        tunnel = open(target);
        tunnels.set(key, tunnel);
        tunnel.then(
            (opened) => void keep(target, opened),
            () => tunnels.delete(key),
        );
    }
    return `tcp://127.0.0.1:${(await tunnel).localPort}`;
}

/** Closes every tunnel of this process and their sessions. */
export async function closeTunnels(): Promise<void> {
    const open = [...tunnels];
    tunnels.clear();
    await Promise.all(
        open.map(async ([key, pending]) => {
            const tunnel = await pending.catch(() => undefined);
            if (!tunnel) return;
            tunnel.closing = true;
            await terminateSession(key.split("/")[0] ?? "", tunnel.sessionId);
            tunnel.child.kill("SIGINT");
            await tunnel.ended;
        }),
    );
}

/** A session that ended while the run goes on (network, idle timeout) is opened again, on the port it had. */
async function keep(target: TunnelTarget, tunnel: Tunnel): Promise<void> {
    const said = await tunnel.ended;
    const key = keyOf(target);
    if (tunnel.closing) return;
    progress(`the tunnel to ${target.instanceId} ended (${said || "without a word"}); opening it again`, true);
    const next = reopen(target, tunnel.localPort);
    tunnels.set(key, next);
    next.then(
        (opened) => void keep(target, opened),
        (error: Error) => {
            tunnels.delete(key);
            progress(error.message, true);
        },
    );
}

async function reopen(target: TunnelTarget, localPort: number): Promise<Tunnel> {
    for (let pause = 1_000; ; pause *= 2) {
        await delay(pause, undefined, { ref: false });
        try {
            return await open(target, localPort);
        } catch (error) {
            if (pause > 8_000) throw error;
        }
    }
}

async function open(target: TunnelTarget, wanted = stablePort(target)): Promise<Tunnel> {
    const plugin = await findPlugin(target);
    const first = await freeSoon(wanted);
    try {
        return await start(plugin, target, first ?? (await freePort()));
    } catch (error) {
        // Somebody took the port between our look and the plugin's; another one will do, and is registered instead.
        if (!(error instanceof TunnelError) || !/address already in use/.test(error.message)) throw error;
        return start(plugin, target, await freePort());
    }
}

/** The port, where it gets free soon: the run before this one may still be closing its tunnel. */
async function freeSoon(port: number): Promise<number | undefined> {
    for (let left = 10; left > 0; left--) {
        if (await tryPort(port)) return port;
        await delay(200);
    }
    return undefined;
}

async function start(plugin: string, target: TunnelTarget, localPort: number): Promise<Tunnel> {
    const session = await startSession(target, localPort);
    const { sessionId } = session;
    const tunnel = { ...startPlugin(plugin, session), sessionId, localPort, closing: false };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
        timer = setTimeout(resolve, OPEN_MS, "late");
    });
    const opened = await Promise.race([tunnel.listening, late]);
    clearTimeout(timer);
    if (opened === "open") return tunnel;
    tunnel.child.kill("SIGINT");
    await terminateSession(target.region, sessionId);
    const said = opened === "late" ? `it opened no port within ${OPEN_MS / 1000} s` : await tunnel.ended;
    throw new TunnelError(
        target,
        `${PLUGIN} did not open port ${localPort}: ${said || "it ended without a word"}`,
        "see what the plugin says, and its log (its seelog.xml switches it on)",
    );
}

async function startSession(target: TunnelTarget, localPort: number): Promise<Session> {
    const { region, instanceId, port } = target;
    const { StartSessionCommand } = await import("@aws-sdk/client-ssm");
    const request = {
        Target: instanceId,
        DocumentName: DOCUMENT,
        Parameters: { portNumber: [String(port)], localPortNumber: [String(localPort)] },
    };
    return withAws("ssm", region, async (send, { config }) => {
        const { SessionId = "", TokenValue = "", StreamUrl = "" } = await send(new StartSessionCommand(request));
        const { AWS_ENDPOINT_URL_SSM: own, AWS_ENDPOINT_URL: shared } = process.env;
        const usual = config.endpointProvider({ Region: region, UseDualStack: false, UseFIPS: false }).url.origin;
        const endpoint = own || shared || usual;
        return { region, request, sessionId: SessionId, token: TokenValue, streamUrl: StreamUrl, endpoint };
    }).catch((error) => {
        if (!(error instanceof AwsError) || error.awsCode !== "TargetNotConnected") throw error;
        throw new TunnelError(
            target,
            "the instance is not connected to Session Manager",
            "does the SSM agent run on it, may its role open the channels (ssmmessages:*), and does it reach ssmmessages?",
            true,
        );
    });
}

/** Tells Session Manager that a session is over; one that already is stays so. */
async function terminateSession(region: string, sessionId: string): Promise<void> {
    const { TerminateSessionCommand } = await import("@aws-sdk/client-ssm");
    await withAws("ssm", region, (send) => send(new TerminateSessionCommand({ SessionId: sessionId }))).catch(
        (error) => {
            progress(
                `the session ${sessionId} could not be ended, and ends by its idle timeout: ${error.message}`,
                true,
            );
        },
    );
}
