#!/bin/bash
# Frees what no manifest refers to. Every manifest stays, tagged or not: an image that is staged by digest until it has passed its
# gates is one of those. Nobody pushes meanwhile (the registry is read-only), and it does not begin while somebody does: a blob
# that is there before its manifest would be taken for garbage.
set -euo pipefail

# shellcheck source=/dev/null
. "$(dirname "$0")/settings.env"
switch=/run/buildfleet-registry/$NAME.env
content=$STORAGE/docker/registry/v2

say() { printf 'buildfleet: registry %s: %s\n' "$NAME" "$*" >&2; }

# Blobs, links to them and unfinished uploads that are younger than the pause.
pushed_lately() {
    [ -e "$content" ] || return 1
    [ -n "$(find "$content" -type f \( -path '*/_uploads/*' -o -path '*/_layers/*' -o -path '*/v2/blobs/*' \) \
        -newermt "-$QUIET_SECONDS seconds" -print -quit)" ]
}

later() {
    say "$*; again in 15 minutes"
    exit 75
}

collect() {
    ! pushed_lately || later "something was pushed within the last $QUIET_SECONDS seconds"
    mkdir -p "${switch%/*}"
    echo CONFIG=read-only.yml >"$switch"
    systemctl try-restart "$UNIT"
    # What came in while the registry finished its last requests.
    ! pushed_lately || later "something was pushed just now"
    say "collecting garbage; the registry is read-only"
    runuser -u buildfleet-registry -- "$FOLDER/current/registry" garbage-collect "$FOLDER/current/config.yml"
    say "done"
}

restore() {
    [ -e "$switch" ] || return 0
    rm "$switch"
    systemctl try-restart "$UNIT"
}

"$1"
