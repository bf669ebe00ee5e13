#!/bin/bash
# Takes over what was staged beside this script: files, units, certificate, BuildKit. Running builds end first, where BuildKit has
# to start anew. systemd runs it, so that it comes to its end also when the connection that asked for it does not.
# claims.sh goes before it.
set -euo pipefail
# For the units of this builder: buildfleet-registry-* are those of a registry that may run on the same machine.
shopt -s extglob nullglob
umask 022

stage=$(dirname "$0")
etc=/etc/buildfleet
state=$etc/.state
scripts=/usr/local/libexec/buildfleet
drain=$scripts/drain.sh
tls=$etc/tls
units_folder=/etc/systemd/system

say() { printf '%s\n' "$*"; }

fail() {
    say "$*"
    exit 1
}

# One builder of this machine at a time.
alone() { (flock 9 && "$@") 9<$units_folder; }

# remember <folder>: what a removal has to put back, or to leave. All builders of a machine remember what was here before the first.
remember() {
    local other folder path state=$1
    [ ! -e "$state/before" ] || return 0
    for other in /etc/buildfleet?(_*)/.state/before; do
        cp "$other" "$state/before.new"
        mv "$state/before.new" "$state/before"
        return 0
    done
    {
        printf 'ip_forward %s\n' "$(cat /proc/sys/net/ipv4/ip_forward)"
        for folder in /usr/local/libexec /var/lib/cni /var/lib/cni/networks /var/lib/cni/results /run/runc; do
            [ ! -d "$folder" ] || printf 'folder %s\n' "$folder"
        done
        iptables --wait --list-rules | sed -n 's/^-N /chain /p'
        for path in /sys/class/net/*/bridge; do
            path=${path%/bridge}
            printf 'bridge %s\n' "${path##*/}"
        done
    } >"$state/before.new"
    mv "$state/before.new" "$state/before"
}

# The firewall's rule names the network of the build steps: each that was ever used, until its rule is gone.
remember_subnets() {
    local file
    {
        for file in $etc/host.env "$stage/root$etc/host.env"; do
            [ ! -e "$file" ] || sed -n "s/^BRIDGE_SUBNET='\(.*\)'$/\1/p" "$file"
        done
        [ ! -e $state/subnets ] || cat $state/subnets
    } | sort -u >$state/subnets.new
    mv $state/subnets.new $state/subnets
}

forget_subnets() {
    local subnet rule
    while read -r subnet; do
        [ "$subnet" != "$BRIDGE_SUBNET" ] || continue
        rule=(POSTROUTING --source "$subnet" --destination 169.254.169.254 --jump DROP)
        ! iptables --wait --table mangle --check "${rule[@]}" 2>/dev/null ||
            iptables --wait --table mangle --delete "${rule[@]}"
    done <$state/subnets
    printf '%s\n' "$BRIDGE_SUBNET" >$state/subnets.new
    mv $state/subnets.new $state/subnets
}

differs() { ! cmp --silent "$stage/root$1" "$1" || [ "$(stat -c %a "$1")" != "$(stat -c %a "$stage/root$1")" ]; }

put() {
    differs "$1" || return 0
    install -D --owner=root --group=root --mode="$(stat -c %a "$stage/root$1")" "$stage/root$1" "$1.buildfleet-new"
    mv -T "$1.buildfleet-new" "$1"
}

# Everything of ours that the new list does not have: of other settings, or put there by somebody else.
clear_away() {
    local path
    while read -r path; do
        [ -e "$stage/root$path" ] || rm -f "$path"
    done < <(find $etc $scripts $units_folder/{buildkitd.service.d,buildfleet.slice,buildfleet-!(registry-*)} \
        -type f -not -path "$state/*" -not -path "$etc/owner" 2>/dev/null)
    find $etc $units_folder/{buildkitd.service.d,buildfleet-!(registry-*).d} -type d -empty -delete 2>/dev/null || true
}

# Of the builder, also those that no boot starts.
own_units() { (cd $units_folder && printf '%s\n' buildkitd.service buildfleet-!(registry-*|*.d)); }

# Before a build is asked to end for it: an address that is wrong changes nothing.
reach_artifact() {
    # shellcheck source=/dev/null
    . "$stage/root$etc/host.env"
    [ ! -e "/opt/buildfleet/buildkit/$BUILDKIT_VERSION-${BUILDKIT_SHA256:0:12}/complete" ] || return 0
    local got
    got=$( (printf 'url = "%s"\n' "$BUILDKIT_URL" |
        curl --config - --fail --silent --show-error --location --connect-timeout 10 --max-time 60 | head -c 1 | wc -c) 2>"$stage/curl" || true)
    [ "$got" = 1 ] || fail "this host does not get BuildKit from $BUILDKIT_URL: $(head -1 "$stage/curl"); nothing was changed"
}

port_in() { [ ! -e "$1" ] || sed -n 's/^PORT=//p' "$1"; }

# Until it has stopped, BuildKit's port is that of before, for the drain.
keep_port() { [ -z "$old_port" ] || sed -i "s/^PORT=.*/PORT=$old_port/" $scripts/lib.sh; }

# With and without root BuildKit's files belong to different users.
change_mode() {
    local mount
    say "BuildKit runs as ${user:-root} from now on: its caches start empty"
    [ ! -e $units_folder/buildkitd.service ] || systemctl stop buildkitd.service
    while read -r mount; do umount "$mount"; done < <(awk '$5 ~ "^/var/lib/buildkit/" { print $5 }' /proc/self/mountinfo | sort -r)
    rm -rf /var/lib/buildkit /run/buildkit
    [ -z "$old_user" ] || ROOTLESS_USER=$old_user $scripts/rootless.sh remove
    rm -f $state/rootless
    [ -z "$user" ] || printf '%s\n' "$user" >$state/rootless
}

# Makes this builder the owner's, if the machine is as it was when it was looked at: another run may have come between. Nobody else
# gets its port and its network from here on, also while a drain takes its time. The lock is for what is a matter of all builders of
# the machine; two runs for this one builder never meet, since they are units of one name.
take_over() {
    local folder=$etc
    if [ "$(claims)" != "$(cat "$stage/seen")" ]; then
        say "the builders of this machine have changed meanwhile; nothing was changed"
        exit 75
    fi
    # All at once: a folder without an owner would be somebody else's.
    if [ ! -e $etc/owner ]; then
        folder=/etc/.buildfleet-new
        rm -rf $folder
    fi
    mkdir -p $folder/.state
    remember $folder/.state
    printf '%s %s\n' "$(port_in "$stage/root$scripts/lib.sh")" "$network" >$folder/.state/claim.new
    mv $folder/.state/claim.new $folder/.state/claim
    cp "$stage/owner" $folder/owner.new
    mv $folder/owner.new $folder/owner
    [ $folder = $etc ] || mv -T $folder $etc
}

settings_back() {
    [ ! -e "$stage/host.env" ] || cp "$stage/host.env" $etc/host.env
    rm -f $state/claim
    [ ! -d /run/buildfleet/refusing ] || "$drain" admit update
}

reach_artifact
user=${ROOTLESS_USER:-}
network=$BRIDGE_SUBNET
[ -z "$user" ] || network=-
alone take_over
remember_subnets
old_user=$(cat $state/rootless 2>/dev/null || true)
old_port=$(port_in $scripts/lib.sh)
read -ra units <"$stage/units"
restart=no
[ "$(cat "$state/started" 2>/dev/null || true)" = "$(cat "$stage/started")" ] || restart=yes
while read -r path; do
    if differs "$path"; then restart=yes; fi
done <"$stage/read-at-start"
[ "$(readlink $tls/current || true)" = "$(cat "$stage/tls")" ] || restart=yes
[ "$(readlink /opt/buildfleet/buildkit/current || true)" = "$(cat "$stage/artifact")" ] || restart=yes

# The drain is the new one, with the new time; all else waits for it.
[ ! -e $etc/host.env ] || cp $etc/host.env "$stage/host.env"
while read -r path; do
    case $path in "$scripts"/* | "$etc/host.env") put "$path" ;; esac
done <"$stage/paths"
keep_port
if [ $restart = yes ] && systemctl --quiet is-active buildkitd.service; then
    say "BuildKit has to start anew: no new builds, those that run may end"
    "$drain" try update || {
        settings_back
        fail "builds ran longer than the drain's time-out: they go on, and nothing was changed; run again later, or allow more time"
    }
fi
[ $restart = no ] || $scripts/artifact.sh || {
    settings_back
    fail "BuildKit could not be installed (see above); nothing else was changed"
}
[ -z "$user" ] || alone $scripts/rootless.sh create || {
    settings_back
    fail "the user $user could not be made (see above); nothing else was changed"
}
[ "$user" = "$old_user" ] || change_mode

while read -r path; do put "$path"; done <"$stage/paths"
keep_port
ln -sfn "$(cat "$stage/tls")" $tls/.current
mv -T $tls/.current $tls/current
clear_away

systemctl daemon-reload
mapfile -t own < <(own_units)
systemctl reset-failed "${own[@]}" 2>/dev/null || true
if [ $restart = yes ]; then
    systemctl stop buildkitd.service
    "$drain" admit update stop
    # They ran for the old settings, and count as active since.
    systemctl stop buildfleet-{status,tls,artifact,cache,firewall}.service
    put $scripts/lib.sh
    forget_subnets
    rm -rf /run/buildfleet/failed-*
fi
systemctl --quiet enable "${units[@]}"
systemctl start "${units[@]}" || {
    journalctl --quiet --no-pager --lines 20 --output cat "${own[@]/#/--unit=}" || true
    fail "BuildKit did not start (see above); it is tried again on and on, and by the next update"
}
for unit in "${units[@]}"; do
    case $unit in *.timer) systemctl restart "$unit" ;; esac
done
"$drain" admit update
cp "$stage/started" "$state/started.new"
mv "$state/started.new" "$state/started"
rm -f $state/claim
