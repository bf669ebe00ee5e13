import { badContent } from "./content";
import type { RegistrySession, SessionRequest } from "./session";
import { header, type WireReply } from "./transport";

/** The target of `rel="next"` in a `Link` header (RFC 8288). */
function nextLink(link: string | undefined): string | undefined {
    for (const match of (link ?? "").matchAll(/<([^>]*)>([^<]*)/g)) {
        if (/;\s*rel\s*=\s*(?:"[^"]*\bnext\b[^"]*"|next\b)/i.test(match[2] ?? "")) return match[1];
    }
    return undefined;
}

/**
 * Reads a listing page after page. A listing is whole or an error: no page may be missing, repeated, or elsewhere.
 *
 * @throws RegistryError when a page fails.
 */
export async function readPages(
    session: RegistrySession,
    request: SessionRequest & { method: "GET" },
    onPage: (reply: WireReply) => void,
): Promise<void> {
    const seen = new Set<string>();
    for (let target: string | URL = request.target; ; ) {
        const reply: WireReply = await session.request({ ...request, target });
        onPage(reply);
        const link = nextLink(header(reply.headers, "link"));
        if (link === undefined) return;
        if (!URL.canParse(link, reply.url.href)) throw badContent(reply, "GET", "Link names no usable next page");
        const next = new URL(link, reply.url);
        // Proxies that end TLS often make the registry name itself http://; the page is on this same registry.
        if (next.host === new URL(session.origin).host) next.protocol = new URL(session.origin).protocol;
        if (next.origin !== session.origin) throw badContent(reply, "GET", `Link leads to another host, ${next.host}`);
        if (seen.has(next.href)) throw badContent(reply, "GET", "Link leads back to a page already read");
        seen.add(next.href);
        target = next;
    }
}
