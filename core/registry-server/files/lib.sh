# Goes before each script that changes something; bash, as root.
# From the settings: NAME, FOLDER, STORAGE, TAKES (whose registry may be changed, an owner a line).
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
            fail "storage: $STORAGE on this host is not free: the registry $other has $theirs;" \
                "name a folder of the registry's own (nothing was changed)"
        fi
    done
}
