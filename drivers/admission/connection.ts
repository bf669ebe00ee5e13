import { type ClientHttp2Session, constants, type ServerHttp2Session } from "node:http2";
import type { BuildkitEndpoint } from "../buildkit";
import { progress } from "../progress";
import { connectNode, watchNode } from "./node-connection";

/** The node that builds are let in to. */
export interface LimitedNode extends BuildkitEndpoint {
    /** As the fleet calls it. */
    name: string;
    /** Builds at a time, over all clients that keep to the limit. */
    maxBuilds: number;
}

/** A client's connection, and the one to the node that it has for itself. */
export class Connection {
    /** Both are closed. */
    readonly ended: Promise<void>;
    private opened: Promise<ClientHttp2Session> | undefined;
    private readonly keeping = new Set<Promise<unknown>>();

    constructor(
        private readonly client: ServerHttp2Session,
        readonly node: LimitedNode,
    ) {
        this.ended = new Promise<void>((resolve) => client.once("close", resolve)).then(() => this.finish());
    }

    /** Opened when it is first needed: who only looks whether the relay is there needs none. */
    session(): Promise<ClientHttp2Session> {
        this.opened ??= this.open();
        return this.opened;
    }

    /** The connection to the node stays for this, though the client may have gone. */
    keepFor(work: Promise<unknown>): void {
        this.keeping.add(work);
        const over = () => void this.keeping.delete(work);
        work.then(over, over);
    }

    private async open(): Promise<ClientHttp2Session> {
        const session = await connectNode(this.node);
        // The node says that it goes: what runs may end, and the client's next call needs a new connection.
        session.once("goaway", () => !this.client.destroyed && this.client.close());
        session.once("close", () => this.client.destroy(undefined, constants.NGHTTP2_NO_ERROR));
        void watchNode(session, (afterMs) =>
            progress(
                `builder node ${this.node.name} has not answered for ${afterMs / 1000} s; its connection is closed`,
                true,
            ),
        );
        return session;
    }

    private async finish(): Promise<void> {
        await Promise.allSettled(this.keeping);
        const session = await this.opened?.catch(() => undefined);
        session?.destroy();
    }
}
