# Stops a registry and takes away all that was put there; what it stores stays, unless that is to go, too.
# From the settings: NAME, UNIT, FOLDER, SCRIPTS, BINARIES, STORAGE, DATA.

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
if [ "$DATA" = remove ]; then
    rm -rf "${STORAGE:?}"
    # The folder that is made when no other is asked for.
    rmdir --ignore-fail-on-non-empty /var/lib/buildfleet-registry 2>/dev/null || true
    # Not while another registry, or what one has stored, is its.
    if [ ! -e /etc/buildfleet-registry ] && [ ! -e /var/lib/buildfleet-registry ] && id -u buildfleet-registry >/dev/null 2>&1; then
        userdel buildfleet-registry
    fi
fi
