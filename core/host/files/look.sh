#!/bin/bash
# What of a builder is on this machine, one fact a line (core/host/drift.ts reads them). Changes nothing.
# claims.sh goes before it.
set -euo pipefail
# buildfleet-registry-* are the units of a registry on the same machine.
shopt -s extglob nullglob

# As whoever sends this script says: the user of a rootless builder, and nothing for one with root.
units=("$@")
rootless=${rootless:-}
etc=/etc/buildfleet

commands=(systemctl systemd-run curl tar gzip openssl iptables ss python3 flock awk cmp sha256sum)
[ -z "$rootless" ] || commands+=(rootlesskit slirp4netns newuidmap newgidmap useradd usermod userdel setpriv unshare)

setting() { [ ! -e "/proc/sys/$1" ] || cat "/proc/sys/$1"; }

# Why an ordinary user can't have a user namespace with a network here, and what to do about it.
rootless_obstacles() {
    if [ "$(setting user/max_user_namespaces)" = 0 ]; then
        printf 'unfit user.max_user_namespaces is 0; set it to 28633 or more with sysctl, and in /etc/sysctl.d\n'
    elif [ "$(setting kernel/unprivileged_userns_clone)" = 0 ]; then
        printf 'unfit kernel.unprivileged_userns_clone is 0; set it to 1 with sysctl, and in /etc/sysctl.d\n'
    elif ! setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user true 2>/dev/null; then
        printf 'unfit an ordinary user may not make a user namespace; see what forbids it (unshare --user, as such a user)\n'
    fi
    if [ "$(setting kernel/apparmor_restrict_unprivileged_userns)" = 1 ] &&
        ! grep -q -s '^rootlesskit ' /sys/kernel/security/apparmor/profiles; then
        printf '%s %s\n' 'unfit kernel.apparmor_restrict_unprivileged_userns is 1 and AppArmor has no profile "rootlesskit";' \
            'load /etc/apparmor.d/rootlesskit (apparmor_parser --replace), or set that to 0 with sysctl, and in /etc/sysctl.d'
    fi
    if [ ! -c /dev/net/tun ] || [[ $(stat -c %a /dev/net/tun) != *[67] ]]; then
        printf 'unfit ordinary users may not open /dev/net/tun; load the module tun, and let udev give it the mode 0666\n'
    fi
}

printf 'machine %s\n' "$(uname -m)"
printf 'system %s\n' "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release | tr -d '"')"
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || printf 'missing %s\n' "$command"
done
[ -d /run/systemd/system ] || printf 'missing systemd\n'
[ -z "$rootless" ] || rootless_obstacles
printf 'controllers %s\n' "$(cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || true)"

claims

# On another port than BuildKit's own of now, somebody else listens.
own_port=0
if [ -e $etc/owner ]; then
    own_port=$(sed -n 's/^PORT=//p' /usr/local/libexec/buildfleet/lib.sh 2>/dev/null || true)
else
    foreign=()
    for path in /{etc,usr/lib}/systemd/system/buildkitd.service $etc /opt/buildfleet /var/lib/buildkit; do
        [ ! -e "$path" ] || foreign+=("$path")
    done
    [ -z "$rootless" ] || ! getent passwd "$rootless" >/dev/null || foreign+=("user $rootless")
    # One that has an owner by now has come meanwhile, and is nobody else's.
    [ -e $etc/owner ] || [ ${#foreign[@]} = 0 ] || printf 'foreign %s\n' "${foreign[@]}"
fi
[ "$own_port" = 8372 ] || [ -z "$(ss --no-header --listening --tcp --numeric '( sport = :8372 )' 2>/dev/null)" ] ||
    printf 'foreign port 8372\n'

while IFS=' ' read -r mode path; do
    sum=$(sha256sum <"$path") || {
        # A change that runs right now puts files in the place of others.
        [ ! -e "$path" ] || exit 1
        continue
    }
    printf 'file %s %s %s\n' "$mode" "${sum%% *}" "$path"
done < <(find $etc /usr/local/libexec/buildfleet \
    /etc/systemd/system/{buildkitd.service,buildkitd.service.d,buildfleet.slice} /etc/systemd/system/buildfleet-!(registry-*) \
    -type f -not -path "$etc/.state/*" -not -path $etc/owner -printf '%m %p\n' 2>/dev/null)

for unit in "${units[@]}"; do
    active=$(systemctl is-active "$unit" || true)
    enabled=$(systemctl is-enabled "$unit" 2>/dev/null || true)
    printf 'unit %s %s %s\n' "$unit" "${active:-unknown}" "${enabled:-unknown}"
done

for link in tls:$etc/tls/current buildkit:/opt/buildfleet/buildkit/current; do
    [ ! -L "${link#*:}" ] || printf 'link %s %s\n' "${link%%:*}" "$(readlink "${link#*:}")"
done
for reason in /run/buildfleet/refusing/*; do
    [ ! -e "$reason" ] || printf 'refusing %s\n' "${reason##*/}"
done
[ ! -e $etc/.state/started ] || printf 'started %s\n' "$(cat $etc/.state/started)"
