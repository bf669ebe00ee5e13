#!/bin/bash
# Taking a builder out of service without failing a build: new connections are refused at once (a client tries another
# node), those that are open go on until no build runs.
#   drain.sh refuse|admit <reason>...   try <reason>   power-off <reason>   stop
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
    local until=$((SECONDS + $1)) quiet='' running told='' silent=0
    while true; do
        if ! running=$(builds_running); then
            # Nothing can run in a BuildKit that is gone; one that hangs is not waited for.
            silent=$((silent + 1))
            [ "$silent" -lt 3 ] || { say "BuildKit does not answer: nothing to wait for"; return 0; }
        elif [ "$running" -gt 0 ]; then
            silent=0 quiet=
            [ -n "$told" ] || say "waiting for $running running build(s), at most $1 s"
            told=yes
        else
            silent=0
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

power_off() {
    say "powering off: $1"
    refuse power-off
    wait_idle "$DRAIN_SECONDS" || say "ending builds that ran longer than $DRAIN_SECONDS s"
    console "buildfleet: $NODE powers off: $1"
    systemctl --no-block poweroff
}

# BuildKit ends gracefully only once its connections have; idle ones would keep it for ever.
stop() {
    if [ -n "${MAINPID:-}" ]; then
        refuse stop
        wait_idle "$DRAIN_SECONDS" || say "ending builds that ran longer than $DRAIN_SECONDS s"
    fi
    ss --kill --tcp state established "( sport = :$PORT )" >/dev/null || say "open connections could not be closed"
}

case $1 in
refuse) refuse "$2" ;;
admit) admit "${@:2}" ;;
try) try "$2" ;;
power-off) power_off "$2" ;;
stop) stop ;;
start)
    # Before BuildKit starts: it is about to read this version.
    admit stop rotation
    readlink /etc/buildfleet/tls/current >"$RUN/tls-running"
    phase buildkit-start
    ;;
*) fail "unknown command $1" ;;
esac
