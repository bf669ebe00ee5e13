import { parseCidr } from "../cidr";
import { FormatError } from "../problems";
import { hostNames } from "./names";
import type { HostSettings } from "./settings";

/** A slirp4netns network has at least 128 addresses (slirp4netns(1), `--cidr`), and is half of the given one. */
export const ROOTLESS_PREFIX = 24;

/**
 * A rootless builder's own network namespace has two networks: that of slirp4netns, through which it reaches the world, and that of the
 * build steps. Each gets a half of the given one, so that a user has one network to choose.
 *
 * @throws FormatError where that is too small.
 */
export function rootlessNetworks(cidr: string): { bridge: string; uplink: string } {
    const { first, last, prefix } = parseCidr(cidr);
    if (prefix > ROOTLESS_PREFIX) {
        throw new FormatError(`${cidr} is too small for a rootless builder`, `a /${ROOTLESS_PREFIX} or a larger one`);
    }
    const middle = first + (last - first + 1n) / 2n;
    return { bridge: `${dotted(first)}/${prefix + 1}`, uplink: `${dotted(middle)}/${prefix + 1}` };
}

/** What the scripts have to know besides. */
export function rootlessEnvironment(settings: HostSettings): Record<string, string> {
    return settings.rootless ? { ROOTLESS_USER: hostNames(settings).user } : {};
}

const dotted = (value: bigint) => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
