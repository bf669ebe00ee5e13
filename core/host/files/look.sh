#!/bin/bash
# What of a builder is on this machine, one fact a line (core/host/drift.ts reads them). Changes nothing.
set -euo pipefail
# buildfleet-registry-* are the units of a registry on the same machine.
shopt -s extglob

units=("$@")

printf 'machine %s\n' "$(uname -m)"
printf 'system %s\n' "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release | tr -d '"')"
for command in systemctl systemd-run curl tar gzip openssl iptables ss python3 flock awk cmp sha256sum; do
    command -v "$command" >/dev/null || printf 'missing %s\n' "$command"
done
[ -d /run/systemd/system ] || printf 'missing systemd\n'

if [ -e /etc/buildfleet/owner ]; then
    printf 'owner %s\n' "$(cat /etc/buildfleet/owner)"
else
    for path in /{etc,usr/lib}/systemd/system/buildkitd.service /etc/buildfleet /opt/buildfleet /var/lib/buildkit; do
        [ ! -e "$path" ] || printf 'foreign %s\n' "$path"
    done
    [ -z "$(ss --no-header --listening --tcp --numeric '( sport = :8372 )' 2>/dev/null)" ] || printf 'foreign port 8372\n'
fi

while IFS=' ' read -r mode path; do
    sum=$(sha256sum <"$path")
    printf 'file %s %s %s\n' "$mode" "${sum%% *}" "$path"
done < <(find /etc/buildfleet /usr/local/libexec/buildfleet \
    /etc/systemd/system/{buildkitd.service,buildkitd.service.d,buildfleet.slice} /etc/systemd/system/buildfleet-!(registry-*) \
    -type f -not -path '/etc/buildfleet/.state/*' -not -path /etc/buildfleet/owner -printf '%m %p\n' 2>/dev/null)

for unit in "${units[@]}"; do
    active=$(systemctl is-active "$unit" || true)
    enabled=$(systemctl is-enabled "$unit" 2>/dev/null || true)
    printf 'unit %s %s %s\n' "$unit" "${active:-unknown}" "${enabled:-unknown}"
done

for link in tls:/etc/buildfleet/tls/current buildkit:/opt/buildfleet/buildkit/current; do
    [ ! -L "${link#*:}" ] || printf 'link %s %s\n' "${link%%:*}" "$(readlink "${link#*:}")"
done
for reason in /run/buildfleet/refusing/*; do
    [ ! -e "$reason" ] || printf 'refusing %s\n' "${reason##*/}"
done
[ ! -e /etc/buildfleet/.state/started ] || printf 'started %s\n' "$(cat /etc/buildfleet/.state/started)"
