#!/bin/bash
# The user that a rootless builder runs as, and what on this machine is that user's.
#   rootless.sh create    the user and its subordinate ids, where they are missing
#   rootless.sh prepare   before each start: folders and keys are the user's
#   rootless.sh remove    the user, its ids and its firewall rules
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etc=/etc/buildfleet
sockets=/run/buildkit

# By its comment: a user of the same name that somebody else made is left alone.
comment='BuildKit of buildfleet'
is_ours() { [ "$(getent passwd "$ROOTLESS_USER" | cut -d: -f5)" = "$comment" ]; }

has_ids() { grep -q "^$ROOTLESS_USER:" "/etc/$1" 2>/dev/null; }

# As many as a container image may use, above all that are given to others; usermod makes the files where there are none.
create() {
    local first last
    if ! getent passwd "$ROOTLESS_USER" >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir "$STATE" --shell /usr/sbin/nologin \
            --comment "$comment" "$ROOTLESS_USER"
    fi
    is_ours || fail "there is a user $ROOTLESS_USER that this library did not make"
    if has_ids subuid && has_ids subgid; then return 0; fi
    first=$(cat /etc/sub{u,g}id 2>/dev/null |
        awk -F: 'BEGIN { first = 100000 } $2 + $3 > first { first = $2 + $3 } END { print first }')
    last=$((first + 65535))
    touch /etc/sub{u,g}id
    usermod --add-subuids "$first-$last" --add-subgids "$first-$last" "$ROOTLESS_USER"
}

prepare() {
    rm -rf "$sockets"
    install --directory --owner="$ROOTLESS_USER" --group="$ROOTLESS_USER" --mode=700 "$sockets"
    chown "$ROOTLESS_USER:" "$STATE"
    keys_to "$ROOTLESS_USER"
}

keys_to() {
    local folder
    for folder in $etc/tls $etc/registries; do
        [ ! -d "$folder" ] || find "$folder" -type f -exec chown "$1:" {} +
    done
}

remove() {
    local user family address
    is_ours || return 0
    user=$(id -u "$ROOTLESS_USER")
    keys_to root
    for family in iptables ip6tables; do
        address=169.254.169.254
        [ $family = iptables ] || address=fd00:ec2::254
        while "$family" --wait --delete OUTPUT --destination $address --match owner --uid-owner "$user" --jump REJECT 2>/dev/null; do :; done
    done
    userdel "$ROOTLESS_USER"
    if has_ids subuid || has_ids subgid; then fail "$ROOTLESS_USER still has ids in /etc/subuid or /etc/subgid"; fi
}

case $1 in
create | prepare | remove) "$1" ;;
*) fail "unknown command $1" ;;
esac
