#!/bin/bash
# Taking a builder out of service without failing a build: new connections are refused at once (a client tries another
# node), those that are open go on until no build runs.
#   drain.sh refuse <reason> | admit <reason>... | try <reason> | power-off <text> | shutdown | start | stop
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

reasons=$RUN/refusing

families=(iptables)
[ ! -e /proc/net/if_inet6 ] || families+=(ip6tables)
rule=(INPUT --protocol tcp --dport "$PORT" --syn --jump REJECT --reject-with tcp-reset)

is_refusing() { "$1" --wait --check "${rule[@]}" 2>/dev/null; }

refuse() {
    local family
    mkdir -p "$reasons"
    touch "$reasons/$1"
    for family in "${families[@]}"; do
        is_refusing "$family" || "$family" --wait --insert "${rule[@]}"
    done
}

# Each reason ends for itself: what a spot notice refuses is not let in because a rotation is over.
admit() {
    local reason family
    for reason in "$@"; do rm -f "$reasons/$reason"; done
    [ -z "$(ls -A "$reasons" 2>/dev/null)" ] || return 0
    for family in "${families[@]}"; do
        while is_refusing "$family"; do "$family" --wait --delete "${rule[@]}"; done
    done
}

connections() { ss --no-header --tcp --numeric state established "( sport = :$PORT )" | wc -l; }

# wait_idle <seconds>: until no build runs. Who is connected and has not begun yet gets ten seconds more. Fails at the time-out.
wait_idle() {
    local until=$((SECONDS + $1)) quiet='' running status told='' gone=0
    while true; do
        status=0
        running=$(builds_running) || status=$?
        if [ "$status" = 124 ]; then
            # On a machine that builds more than it can carry; what runs in there is not given up.
            say "BuildKit takes long to answer"
        elif [ "$status" != 0 ]; then
            gone=$((gone + 1))
            [ "$gone" -lt 3 ] || { say "BuildKit does not run: nothing to wait for"; return 0; }
        elif [ "$running" -gt 0 ]; then
            gone=0 quiet=
            [ -n "$told" ] || say "waiting for $running running build(s), at most $1 s"
            told=yes
        else
            gone=0
            quiet=${quiet:-$SECONDS}
            [ "$(connections)" -gt 0 ] && [ $((SECONDS - quiet)) -lt 10 ] || return 0
        fi
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 1
    done
}

# For what can wait: when builds outlast the time, everything is as before.
try() {
    refuse "$1"
    wait_idle "$DRAIN_SECONDS" && return 0
    admit "$1"
    return 1
}

# For what can't.
drain() {
    refuse "$1"
    wait_idle "$DRAIN_SECONDS" || say "ending builds that ran longer than $DRAIN_SECONDS s"
}

power_off() {
    say "powering off: $1"
    drain power-off
    console "buildfleet: $NODE powers off: $1"
    systemctl --no-block poweroff
}

# BuildKit ends gracefully only once its connections have; idle ones would keep it for ever, or until systemd's patience ends,
# which has to be as long as a drain. So it is ended here.
stop() {
    [ -n "${MAINPID:-}" ] || return 0
    drain stop
    ss --kill --tcp state established "( sport = :$PORT )" >/dev/null || say "open connections could not be closed"
    kill -TERM "$MAINPID" || return 0
    retry 20 has_ended || kill -KILL "$MAINPID"
}

has_ended() { ! kill -0 "$MAINPID" 2>/dev/null; }

case $1 in
refuse) refuse "$2" ;;
admit) admit "${@:2}" ;;
try) try "$2" ;;
power-off) power_off "$2" ;;
shutdown) drain shutdown ;;
stop) stop ;;
start)
    # Before BuildKit starts: it is about to read this version.
    [ ! -d "$reasons" ] || admit stop rotation
    readlink /etc/buildfleet/tls/current >"$RUN/tls-running"
    phase buildkit-start
    ;;
*) fail "unknown command $1" ;;
esac
