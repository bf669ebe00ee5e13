#!/bin/bash
# Build steps run strangers' code: none of it reaches the metadata service. What a rootless builder sends, its steps' share of it
# included, leaves this machine as its user's.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# ensure <iptables or ip6tables> <address>: once, ahead of what is there. A build step that asks waits until it gives up: slirp4netns
# does not hand a refusal on.
ensure() {
    local rule=(OUTPUT --destination "$2" --match owner --uid-owner "$user" --jump REJECT)
    "$1" --wait --check "${rule[@]}" 2>/dev/null || "$1" --wait --insert "${rule[@]}"
}

need iptables iptables iptables-nft
user=$(id -u "$ROOTLESS_USER") || fail "the user $ROOTLESS_USER is missing; the next update of this host makes it"
ensure iptables 169.254.169.254
if [ -e /proc/net/if_inet6 ]; then ensure ip6tables fd00:ec2::254; fi
phase firewall
