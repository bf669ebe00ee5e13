#!/bin/bash
# Takes a builder off this machine; what was here before it stays. Running builds may end first.
set -euo pipefail

etc=/etc/buildfleet
state=$etc/.state
drain=/usr/local/libexec/buildfleet/drain.sh

was() { grep --quiet --line-regexp --fixed-strings "$1" "$state/before" 2>/dev/null; }

# delete_rules <iptables or ip6tables> <table> <pattern>
delete_rules() {
    local command=$1 table=$2 rule
    command -v "$command" >/dev/null || return 0
    while read -r rule; do
        # As iptables prints them they are words of a shell.
        eval "$command --wait --table $table ${rule/#-A/-D}"
    done < <("$command" --wait --table "$table" --list-rules 2>/dev/null | grep -e "^-A" | grep -e "$3" || true)
}

delete_chain() {
    was "chain $1" && return 0
    iptables --wait --flush "$1" 2>/dev/null || return 0
    delete_rules iptables filter "-j $1\$"
    iptables --wait --delete-chain "$1"
}

if [ -x "$drain" ] && systemctl --quiet is-active buildkitd.service; then
    "$drain" try uninstall || printf 'ending builds that ran longer than the drain may take\n'
fi
mapfile -t units < <(cd /etc/systemd/system && printf '%s\n' buildkitd.service buildfleet-* buildfleet.slice | grep -v -e '\.d$' -e '\*')
for unit in "${units[@]}"; do
    # The timers first: they would start what is stopped.
    case $unit in *.timer) systemctl --quiet disable --now "$unit" 2>/dev/null || true ;; esac
done
systemctl --quiet disable --now "${units[@]}" 2>/dev/null || true
rm -rf /etc/systemd/system/{buildkitd.service,buildkitd.service.d,buildfleet.slice} /etc/systemd/system/buildfleet-*
systemctl daemon-reload
systemctl reset-failed 'buildkitd.service' 'buildfleet-*' 2>/dev/null || true

for command in iptables ip6tables; do
    delete_rules $command filter '--dport 8372 '
    delete_rules $command filter buildfleet0
    delete_rules $command mangle 'buildfleet0\|169\.254\.169\.254'
done
delete_rules iptables nat '"buildkit"'
for chain in CNI-ADMIN CNI-FORWARD CNI-ISOLATION-STAGE-1 CNI-ISOLATION-STAGE-2; do delete_chain $chain; done
! ip link show dev buildfleet0 >/dev/null 2>&1 || ip link delete dev buildfleet0
forward=$(sed -n 's/^ip_forward //p' "$state/before" 2>/dev/null || true)
[ -z "$forward" ] || printf '%s\n' "$forward" >/proc/sys/net/ipv4/ip_forward

while read -r mount; do umount "$mount"; done < <(awk '$5 ~ "^/var/lib/buildkit/" { print $5 }' /proc/self/mountinfo | sort -r)
rm -rf /var/lib/buildkit /opt/buildfleet /run/buildfleet /run/buildkit /usr/local/libexec/buildfleet
rm -rf /var/lib/cni/networks/buildkit /var/lib/cni/results/buildkit-*
for folder in /var/lib/cni/{networks,results} /var/lib/cni /usr/local/libexec /run/runc; do
    was "folder $folder" || rmdir "$folder" 2>/dev/null || true
done
rm -rf $etc
