# Goes before each script that changes something; bash, as root.
# From the settings: NAME, UNIT, FOLDER, SCRIPTS, BINARIES, STORAGE, TAKES (whose registry may be changed, an owner a line).
set -euo pipefail
umask 022

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# One change at a time: a script that a run left behind when it was killed comes to its end first. It leaves no trace.
exec 9</etc/systemd/system
flock --wait 500 9 || fail "another run is at work on a registry of this host"

# Exit code 3 and the owner's name, where the registry is not to be changed. One of an earlier version of this library has no owner.
owner=
if [ -e "$FOLDER/owner" ]; then
    owner=$(cat "$FOLDER/owner")
elif [ -e "$FOLDER/current" ] || [ -e "$FOLDER/config.yml" ]; then
    owner=nobody
fi
if [ -n "$owner" ] && ! grep -qxF -e "$owner" <<<"$TAKES"; then
    printf 'owner %s\n' "$owner"
    exit 3
fi

# Two registries over one folder: the one's garbage collection would take what is being pushed to the other.
need_storage_of_its_own() {
    local mine config other theirs
    mine=$(realpath --canonicalize-missing "$STORAGE")
    for config in "${FOLDER%/*}"/*/current/config.yml; do
        other=${config%/current/config.yml}
        other=${other##*/}
        if [ ! -e "$config" ] || [ "$other" = "$NAME" ]; then continue; fi
        theirs=$(realpath --canonicalize-missing "$(sed -n 's/^ *rootdirectory: *//p' "$config")")
        if [[ $mine/ == "$theirs"/* || $theirs/ == "$mine"/* ]]; then
            fail "storage: $STORAGE on this host is not free: the registry $other has $theirs; name a folder of the registry's own"
        fi
    done
}

# Units, programs, settings, keys: all but what it stores.
remove_registry() {
    local one parent
    for one in "$UNIT-gc.timer" "$UNIT-gc.service" "$UNIT.service"; do
        systemctl --quiet disable --now "$one" 2>/dev/null || true
        if systemctl --quiet is-active "$one"; then
            printf '%s does not stop\n' "$one" >&2
            exit 1
        fi
        rm -rf "/etc/systemd/system/$one"{,.d,.buildfleet-new}
    done
    systemctl daemon-reload
    systemctl reset-failed "$UNIT*" 2>/dev/null || true
    rm -rf "${FOLDER:?}" "${SCRIPTS:?}" "${BINARIES:?}" "/run/buildfleet-registry/$NAME".*
    for parent in "${FOLDER%/*}" "${SCRIPTS%/*}" "${BINARIES%/*}" /run/buildfleet-registry; do
        rmdir --ignore-fail-on-non-empty "$parent" 2>/dev/null || true
    done
}

# The folder that is made when no other is asked for, and the user; not while another registry, or what one has stored, is its.
remove_user() {
    rmdir --ignore-fail-on-non-empty /var/lib/buildfleet-registry 2>/dev/null || true
    if [ ! -e /etc/buildfleet-registry ] && [ ! -e /var/lib/buildfleet-registry ] && id -u buildfleet-registry >/dev/null 2>&1; then
        userdel buildfleet-registry
    fi
}
