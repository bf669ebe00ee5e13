# Takes a user's name off a handler, and the handler away with its last one. Run twice, it changes nothing.
# From the settings: HANDLER, OWNER.
set -euo pipefail
handlers=/proc/sys/fs/binfmt_misc
state=/var/lib/buildfleet-emulation
emulators=/opt/buildfleet-emulation

exec 9>/run/buildfleet-emulation.lock
flock 9
rm -f "$state/$HANDLER/$OWNER"
rmdir "$state/$HANDLER" 2>/dev/null || [ ! -e "$state/$HANDLER" ] || exit 0
[ ! -e "$handlers/$HANDLER" ] || echo -1 >"$handlers/$HANDLER"
rm -f "/etc/binfmt.d/$HANDLER.conf"
rm -rf "${emulators:?}/$HANDLER"
rmdir --ignore-fail-on-non-empty "$emulators" "$state" 2>/dev/null || true
