import { createAuthority, issueCertificate } from "../../drivers/x509";
import { account, type RunningRegistry, startRegistry } from "./registry";
import { startTokenService, type TokenService } from "./token-service";

/** Arguments of a `RegistryConnection`, plain. */
export interface RoomRegistry {
    address: string;
    plainHttp?: boolean;
    ca?: string;
    clientCertificate?: { certificate: string; privateKey: string };
    username?: string;
    password?: string;
    pathPrefix?: string;
    /** Name of the registry that is asked first. */
    mirror?: string;
}

export const robot = { username: "robot$room+ci", password: "robot-canary" };
export const formerRobot = { username: "robot$room+former", password: "former-canary" };

/** The registries of a machine room, each of a kind of its own, on this machine. */
export class Room {
    private readonly running: Record<string, RunningRegistry> = {};
    private service: TokenService | undefined;
    /** By kind. */
    readonly registries: Record<string, RoomRegistry> = {};

    async start(): Promise<this> {
        const authority = await createAuthority({ name: "machine room", days: 1 });
        const names = { dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"] };
        const server = () => issueCertificate({ authority, commonName: "server", usage: "server", ...names, days: 1 });
        const client = await issueCertificate({ authority, commonName: "client", usage: "client", days: 1 });
        const [ca, clientCertificate] = [authority.certificate, client];
        const secured = { ca, clientCertificate: pairOf(clientCertificate) };

        const signer = await server();
        const { service } = await this.startService(signer, await server());
        const starting = {
            plain: startRegistry(),
            htpasswd: startRegistry({ htpasswd: account.htpasswd, tls: await server() }),
            token: startRegistry({ tls: await server(), token: { ...service, authority: ca } }),
            certificate: startRegistry({ tls: { ...(await server()), clientCa: ca } }),
            origin: startRegistry(),
        };
        for (const [name, registry] of Object.entries(starting)) this.running[name] = await registry;
        // In front of the origin, and behind a certificate of its own.
        this.running.mirror = await startRegistry({
            tls: await server(),
            htpasswd: account.htpasswd,
            proxyOf: this.address("origin"),
        });
        const { username, password } = account;
        Object.assign(this.registries, {
            plain: { address: this.address("plain"), plainHttp: true },
            // As a Nexus with path-based routing.
            htpasswd: { address: this.address("htpasswd"), ca, username, password, pathPrefix: "docker-hosted" },
            // As a Harbor: a project, a robot account, a token service.
            token: { address: this.address("token"), ca, ...robot, pathPrefix: "room" },
            certificate: { address: this.address("certificate"), ...secured },
            origin: { address: this.address("origin"), plainHttp: true, mirror: "mirror" },
            mirror: { address: this.address("mirror"), ca, username, password },
        });
        return this;
    }

    private async startService(signer: Parameters<typeof startTokenService>[1], tls: typeof signer) {
        const accounts = {
            [robot.username]: { password: robot.password, projects: ["room"] },
            [formerRobot.username]: {
                password: formerRobot.password,
                projects: ["room"],
                expires: new Date("2026-01-31"),
            },
        };
        this.service = await startTokenService(accounts, signer, tls);
        const { realm, service, issuer } = this.service;
        return { service: { realm, service, issuer } };
    }

    address(name: string): string {
        const registry = this.running[name];
        if (!registry) throw new Error(`no registry ${name}`);
        return registry.registry;
    }

    /** Requests that a registry answered, one a line: its access log. */
    log(name: string): string[] {
        return (this.running[name]?.log() ?? "")
            .split("\n")
            .filter((line) => /"(?:GET|HEAD|POST|PUT|PATCH) /.test(line));
    }

    /** What was asked of the token service: `POST alice repository:room/app:pull`. */
    get tokens(): string[] {
        return this.service?.seen ?? [];
    }

    async dispose(): Promise<void> {
        await Promise.all(Object.values(this.running).map((registry) => registry.stop()));
        await this.service?.stop();
    }
}

const pairOf = ({ certificate, privateKey }: { certificate: string; privateKey: string }) => ({
    certificate,
    privateKey,
});
