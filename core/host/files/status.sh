#!/bin/bash
# When this boot reached what: on the console, in the journal, and in /run/buildfleet/status.json.
#   status.sh answering   BuildKit says that it listens (it does so by systemd's notification)
#   status.sh write       all is up: look, write the file, and make sure that BuildKit's programs are on the disk
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Microseconds since the boot at which the unit was up; 0 when it is not.
up_at() { systemctl show --property ActiveEnterTimestampMonotonic --value "$1"; }

seconds() { awk -v us="$1" 'BEGIN { printf "%.2f", us / 1000000 }'; }

is_answering() { timeout 20 buildctl debug workers >/dev/null; }

# The units that know when the network is up differ; the target comes later, when other units are ahead of it.
network() {
    local unit at first=0
    for unit in systemd-networkd-wait-online NetworkManager-wait-online networking; do
        at=$(up_at "$unit.service")
        [ "$at" -gt 0 ] && { [ "$first" -eq 0 ] || [ "$at" -lt "$first" ]; } && first=$at
    done
    [ "$first" -gt 0 ] || first=$(up_at network-online.target)
    [ "$first" -eq 0 ] || phase network "$(seconds "$first")"
}

write() {
    local root=/opt/buildfleet/buildkit/current
    retry 120 is_answering || fail "BuildKit does not answer; see buildkitd.service"
    phase kernel "$(seconds "$(systemctl show --property UserspaceTimestampMonotonic --value)")"
    network
    python3 -ISc '
import json, os, sys
run, fleet, node, release, version = sys.argv[1:]
phases = {name: float(open(os.path.join(run, "phases", name)).read()) for name in os.listdir(run + "/phases")}
print(json.dumps({"fleet": fleet, "node": node, "release": release, "buildkit": version,
    "secondsSinceBoot": dict(sorted(phases.items(), key=lambda phase: phase[1]))}, indent=4))' \
        "$RUN" "$FLEET" "$NODE" "$RELEASE" "$BUILDKIT_VERSION" >"$RUN/.status"
    mv "$RUN/.status" "$RUN/status.json"
    chmod 644 "$RUN/status.json"
    if [ ! -e "$root/complete" ]; then
        sync --file-system "$root/"
        touch "$root/complete"
    fi
    say "$(tr -s '\n ' ' ' <"$RUN/status.json")"
}

case $1 in
answering) phase answering ;;
write) write ;;
*) fail "unknown command $1" ;;
esac
