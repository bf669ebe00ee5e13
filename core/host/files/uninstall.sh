#!/bin/bash
# Takes a builder off this machine; what was here before it stays. Running builds may end first.
set -euo pipefail
# For the units of this builder: buildfleet-registry-* are those of a registry that may run on the same machine.
shopt -s extglob nullglob

stage=$(dirname "$0")
etc=/etc/buildfleet
# What a removal that was cut off by a crash had come to.
gone=/etc/.buildfleet-old
rm -rf $gone
# What somebody else manages by now is left alone. It stays so: changes of this builder are units of one name, and never run together.
[ "$(cat $etc/owner 2>/dev/null || true)" = "$(cat "$stage/owner")" ] || exit 0

state=$etc/.state
scripts=/usr/local/libexec/buildfleet
drain=$scripts/drain.sh
port=$(sed -n 's/^PORT=//p' $scripts/lib.sh 2>/dev/null || true)

was() { grep --quiet --line-regexp --fixed-strings "$1" "$state/before" 2>/dev/null; }

# delete_rule <iptables or ip6tables> <table> <rule...>: this very rule, once; somebody may have another one for the same port.
delete_rule() {
    local command=$1 table=$2
    shift 2
    ! "$command" --wait --table "$table" --check "$@" 2>/dev/null || "$command" --wait --table "$table" --delete "$@"
}

# delete_rules <table> <chain> <pattern>: what BuildKit's network plugins made there.
delete_rules() {
    local table=$1 chain=$2 rule
    while read -r rule; do
        # As iptables prints them they are words of a shell.
        eval "iptables --wait --table $table ${rule/#-A/-D}"
    done < <(iptables --wait --table "$table" --list-rules "$chain" 2>/dev/null | grep -e '^-A' | grep -E -e "$3" || true)
}

chains=(CNI-ADMIN CNI-FORWARD CNI-ISOLATION-STAGE-1 CNI-ISOLATION-STAGE-2)

subnets() {
    {
        cat $state/subnets 2>/dev/null || true
        sed -n "s/^BRIDGE_SUBNET='\(.*\)'$/\1/p" $etc/host.env 2>/dev/null || true
    } | sort -u
}

# in_subnets: of the addresses on stdin those of this builder's networks; other builders of this machine use the same folders.
in_subnets() {
    python3 -ISc '
import ipaddress, sys
networks = [ipaddress.ip_network(text) for text in sys.argv[1:]]
for line in sys.stdin:
    address = line.split("/")[0].strip()
    if address and any(ipaddress.ip_address(address) in network for network in networks):
        print(address)' "$@"
}

# What firewall.sh and drain.sh insert, and what the network plugins do for the bridge and for containers that were not ended.
delete_own_rules() {
    local subnet name address addresses own_subnets
    mapfile -t own_subnets < <(subnets)
    delete_rule iptables filter INPUT --protocol tcp --dport "${port:-8372}" --syn --jump REJECT --reject-with tcp-reset
    delete_rule iptables filter CNI-ADMIN --in-interface buildfleet0 --destination 169.254.169.254 --jump REJECT
    for subnet in "${own_subnets[@]}"; do
        delete_rule iptables mangle POSTROUTING --source "$subnet" --destination 169.254.169.254 --jump DROP
    done
    if [ -e /proc/net/if_inet6 ]; then
        delete_rule ip6tables filter INPUT --protocol tcp --dport "${port:-8372}" --syn --jump REJECT --reject-with tcp-reset
        delete_rule ip6tables mangle FORWARD --in-interface buildfleet0 --destination fd00:ec2::254 --jump DROP
    fi
    for name in "${chains[@]:2}"; do delete_rules filter "$name" '-[io] buildfleet0 '; done
    # Files of the addresses that are given out.
    mapfile -t addresses < <(cd /var/lib/cni/networks/buildkit 2>/dev/null && printf '%s\n' *.*.*.* | in_subnets "${own_subnets[@]}")
    for address in "${addresses[@]}"; do
        delete_rules filter CNI-FORWARD " ${address//./\\.}/32 "
        rm -f "/var/lib/cni/networks/buildkit/$address"
    done
    while read -r address name; do
        [ -n "$(in_subnets "${own_subnets[@]}" <<<"$address")" ] || continue
        delete_rules nat POSTROUTING " -j $name\$"
        iptables --wait --table nat --flush "$name"
        iptables --wait --table nat --delete-chain "$name"
    done < <(iptables --wait --table nat --list-rules POSTROUTING |
        sed -n 's/^-A POSTROUTING -s \([0-9./]*\) .*--comment "name: \\"buildkit\\" id: .* -j \(CNI-[0-9a-f]*\)$/\1 \2/p' | sort -u)
    # What the plugins remember of each container names its bridge.
    for name in /var/lib/cni/results/buildkit-*; do
        ! grep --quiet --fixed-strings '"buildfleet0"' "$name" || rm -f "$name"
    done
}

# The plugins' chains, unless they were here before, or another network or an administrator has rules in them by now.
delete_chains() {
    local chain rules
    for chain in "${chains[@]}"; do
        ! was "chain $chain" || return 0
        rules=$(iptables --wait --list-rules "$chain" 2>/dev/null | grep -e '^-A' | grep -v -E -e ' -j (RETURN|CNI-ADMIN)$' || true)
        [ -z "$rules" ] || return 0
    done
    for chain in "${chains[@]}"; do delete_rules filter FORWARD " -j $chain\$"; done
    for chain in "${chains[@]}"; do iptables --wait --flush "$chain" 2>/dev/null || true; done
    for chain in "${chains[@]}"; do
        ! iptables --wait --list-rules "$chain" >/dev/null 2>&1 || iptables --wait --delete-chain "$chain"
    done
}

# Whether something that came after the builder needs packets to be forwarded. Looked at are: bridges that were not here before
# (Docker, Podman, libvirt, CNI); chains of those in the table filter (Docker, Kubernetes, libvirt, CNI); the settings that a boot
# takes over.
is_forwarding_needed() {
    local path name
    for path in /sys/class/net/*/bridge; do
        path=${path%/bridge}
        was "bridge ${path##*/}" || return 0
    done
    while read -r name; do
        was "chain $name" || return 0
    done < <(iptables --wait --list-rules | sed -n -E 's/^-N ((DOCKER|CNI-|KUBE-|LIBVIRT_).*)/\1/p')
    grep -q -s -E '^[-[:space:]]*net[./]ipv4[./](ip_forward|conf[./]all[./]forwarding)[[:space:]]*=[[:space:]]*1' \
        /etc/sysctl.conf /{etc,run,usr/lib}/sysctl.d/*.conf
}

if [ -x "$drain" ] && systemctl --quiet is-active buildkitd.service; then
    "$drain" try uninstall || printf 'ending builds that ran longer than the drain may take\n'
fi
mapfile -t units < <(cd /etc/systemd/system && printf '%s\n' buildkitd.service buildfleet-!(registry-*|*.d) buildfleet.slice)
for unit in "${units[@]}"; do
    # The timers first: they would start what is stopped.
    case $unit in *.timer) systemctl --quiet disable --now "$unit" 2>/dev/null || true ;; esac
done
systemctl --quiet disable --now "${units[@]}" 2>/dev/null || true
rm -rf /etc/systemd/system/{buildkitd.service,buildkitd.service.d,buildfleet.slice} /etc/systemd/system/buildfleet-!(registry-*)
systemctl daemon-reload
systemctl reset-failed "${units[@]}" 2>/dev/null || true

[ ! -x $scripts/rootless.sh ] || $scripts/rootless.sh remove

delete_own_rules
! ip link show dev buildfleet0 >/dev/null 2>&1 || ip link delete dev buildfleet0

while read -r mount; do umount "$mount"; done < <(awk '$5 ~ "^/var/lib/buildkit/" { print $5 }' /proc/self/mountinfo | sort -r)
rm -rf /var/lib/buildkit /opt/buildfleet /run/buildfleet /run/buildkit

# The rest goes with the last builder of this machine: no other one comes or goes meanwhile.
exec 9</etc/systemd/system
flock 9
others=()
for other in /etc/buildfleet?(_*)/.state/before; do
    [ "$other" = $state/before ] || others+=("$other")
done
if [ ${#others[@]} = 0 ]; then
    delete_chains
    # BuildKit's plugins have set it to 1; what was 1 before, and what others need by now, stays.
    if was "ip_forward 0" && ! is_forwarding_needed; then echo 0 >/proc/sys/net/ipv4/ip_forward; fi
    rm -rf /var/lib/cni/networks/buildkit /var/lib/cni/results/buildkit-*
fi
rm -rf $scripts
for folder in /var/lib/cni/{networks,results} /var/lib/cni /usr/local/libexec /run/runc; do
    was "folder $folder" || rmdir "$folder" 2>/dev/null || true
done
# At once: a folder without an owner would be somebody else's.
mv -T $etc $gone
rm -rf $gone
