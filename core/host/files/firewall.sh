#!/bin/bash
# Build steps run strangers' code: none of it reaches the metadata service, which hands out the instance's role.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

BRIDGE=buildfleet0

# ensure <iptables or ip6tables> <table> <chain> <rule...>: once, ahead of what is there.
ensure() {
    local command=$1 table=$2 chain=$3
    shift 3
    "$command" --wait --table "$table" --check "$chain" "$@" 2>/dev/null ||
        "$command" --wait --table "$table" --insert "$chain" "$@"
}

need iptables iptables iptables-nft

# CNI's firewall plugin sends all that build steps send through this chain first, and leaves its content to others. Refused, not
# dropped: an SDK in a build that looks for credentials goes on at once.
iptables --wait --new-chain CNI-ADMIN 2>/dev/null || iptables --wait --list-rules CNI-ADMIN >/dev/null
ensure iptables filter CNI-ADMIN --in-interface "$BRIDGE" --destination 169.254.169.254 --jump REJECT
# Whatever may happen to that plugin's chains: nothing leaves for there. The last table, so that the one above answers first.
ensure iptables mangle POSTROUTING --source "$BRIDGE_SUBNET" --destination 169.254.169.254 --jump DROP
# Build steps have no IPv6 but link-local addresses; should that change, this is shut, too.
if [ -e /proc/net/if_inet6 ]; then
    ensure ip6tables mangle FORWARD --in-interface "$BRIDGE" --destination fd00:ec2::254 --jump DROP
fi
phase firewall
