# Goes before each script that changes something; bash, as root.
# From the settings: NAME, FOLDER, TAKES (whose registry may be changed, an owner a line).
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
