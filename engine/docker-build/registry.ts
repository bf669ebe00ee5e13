/** Whether a registry has an image, asked as the plugin asks on refresh: over HTTPS with the system's certificates. */
import type { Tag } from "./reference";

const ACCEPT = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** "present", "missing", or why it can't be told (a registry that asks for credentials, speaks plain HTTP or doesn't answer). */
export async function probe({ host, repository, tag }: Tag, digest: string, signal: AbortSignal): Promise<string> {
    const url = `https://${host === "docker.io" ? "registry-1.docker.io" : host}/v2/${repository}/manifests/${digest}`;
    const failed = (reason: string) =>
        `failed to get manifest ${host}/${repository}:${tag}@${digest}: Get "${url}": ${reason}`;
    try {
        const limits = AbortSignal.any([signal, AbortSignal.timeout(10_000)]);
        const response = await fetch(url, { method: "HEAD", headers: { accept: ACCEPT }, signal: limits });
        if (response.ok) return "present";
        return response.status === 404 ? "missing" : failed(`http status ${response.status}`);
    } catch (error) {
        const { message, cause } = error as Error;
        const reason = cause instanceof Error ? cause.message : message;
        return failed(
            /wrong version number|packet length/i.test(reason)
                ? "http: server gave HTTP response to HTTPS client"
                : reason,
        );
    }
}
