#!/bin/bash
# Powers the machine off after so long without a build; booting counts as one. What BuildKit remembers of its builds decides, so
# a build between two looks counts, too.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Seconds since the last build ended, or since the boot; 0 while one runs. Fails when BuildKit does not say.
idle_seconds() {
    local lines now up last
    lines=$(builds) || return 1
    if grep -q '^STARTED' <<<"$lines"; then
        echo 0
        return
    fi
    now=$(date +%s)
    up=$(cut -d. -f1 /proc/uptime)
    last=$(awk '$1 == "COMPLETE" && $2 > last { last = $2 } END { print last + 0 }' <<<"$lines")
    echo $((now - last < up ? now - last : up))
}

exec 9>"$RUN/idle.lock"
flock --nonblock 9 || exit 0
idle=$(idle_seconds) || fail "BuildKit does not say what it builds; see buildkitd.service"
[ "$idle" -ge "$IDLE_SECONDS" ] || exit 0

# A build that began since the look: refuse first, then look again.
"$(dirname "$0")/drain.sh" refuse idle
for _ in 1 2 3; do
    sleep 1
    idle=$(idle_seconds) || idle=0
    if [ "$idle" -lt "$IDLE_SECONDS" ]; then
        say "a build began at the last moment: staying"
        exec "$(dirname "$0")/drain.sh" admit idle
    fi
done
exec "$(dirname "$0")/drain.sh" power-off "no build for $idle s"
