#!/bin/bash
# Becomes a command in a control group of its own, whose limits hold for it and for all that is put into groups below; or says why
# that can't be. Arguments: the group's name, its bytes of memory, its microseconds of CPU time in each tenth of a second (either
# may be empty), the command.
set -euo pipefail
root=/sys/fs/cgroup
step=enter
if [ "$1" = --inside ]; then
    step=inside
    shift
fi
group=$1 memory=$2 cpu=$3
period=100000

fail() {
    printf 'no limits: %s\n' "$*" >&2
    exit 1
}

is_unified() { [ -e $root/cgroup.controllers ]; }

# The command's own group of a controller, as the kernel has it (cgroups(7), /proc/[pid]/cgroup).
own_group() {
    if is_unified; then
        sed -n 's|^0::|/|p' /proc/self/cgroup
    else
        sed -n "s|^[0-9]*:\([^:]*,\)\{0,1\}$1\(,[^:]*\)\{0,1\}:|$1|p" /proc/self/cgroup
    fi
}

# What was asked for is what the kernel says; whoever made the group, and however.
verify() {
    local found
    if [ -n "$memory" ]; then
        if is_unified; then found=$root$(own_group memory)/memory.max; else found=$root/$(own_group memory)/memory.limit_in_bytes; fi
        found=$(cat "$found" 2>/dev/null) || fail "this machine's control groups have no controller for memory"
        # The kernel counts in pages.
        if [ "$found" = max ] || [ "$found" -gt "$memory" ]; then fail "the group's memory is limited to $found, not to $memory"; fi
    fi
    if [ -n "$cpu" ]; then
        if is_unified; then
            found=$(cat "$root$(own_group cpu)/cpu.max" 2>/dev/null) || fail "this machine's control groups have no controller for CPUs"
        else
            found="$(cat "$root/$(own_group cpu)/cpu.cfs_quota_us" 2>/dev/null) $period" || fail "this machine's control groups have no controller for CPUs"
        fi
        [ "$found" = "$cpu $period" ] || fail "the group's CPU time is limited to $found, not to $cpu $period"
    fi
}

# Whoever has systemd asks it: it owns the groups.
by_systemd() {
    local unit=$group properties=(--property=Delegate=yes)
    [ -z "$memory" ] || properties+=(--property=MemoryMax="$memory" --property=MemorySwapMax=0)
    [ -z "$cpu" ] || properties+=(--property=CPUQuota="$((cpu * 100 / period))%")
    # What a daemon that was killed has left, its steps.
    systemctl --quiet stop "$unit" 2>/dev/null || true
    exec systemd-run --quiet --scope --collect --slice=-.slice --unit="$unit" "${properties[@]}" -- \
        bash "$0" --inside "$group" "$memory" "$cpu" "$@"
}

put() { # VALUE FILE
    printf '%s' "$1" 2>/dev/null >"$2" || fail "$2 can't be written (the limits need a root's own control groups, or systemd)"
}

by_hand() {
    local controller
    for controller in ${memory:+memory} ${cpu:+cpu}; do
        if is_unified; then
            grep -qw "$controller" $root/cgroup.controllers ||
                fail "this machine's control groups have no controller $controller ($root/cgroup.controllers)"
            grep -qw "$controller" $root/cgroup.subtree_control || put "+$controller" $root/cgroup.subtree_control
            enter_group "$root/$group" "$controller"
        else
            [ -e "$root/$controller/cgroup.procs" ] || fail "there is no $root/$controller: no control groups for $controller"
            enter_group "$root/$controller/$group" "$controller"
        fi
    done
}

enter_group() { # FOLDER CONTROLLER
    mkdir -p "$1" 2>/dev/null || fail "$1 can't be made (the limits need a root's own control groups, or systemd)"
    case $2 in
        memory)
            if is_unified; then
                put "$memory" "$1/memory.max"
                [ ! -e "$1/memory.swap.max" ] || put 0 "$1/memory.swap.max"
            else
                # Memory with swap can't be less than memory alone, so where there is one to change, it is raised out of the way.
                [ ! -e "$1/memory.memsw.limit_in_bytes" ] || put -1 "$1/memory.memsw.limit_in_bytes"
                put "$memory" "$1/memory.limit_in_bytes"
                [ ! -e "$1/memory.memsw.limit_in_bytes" ] || put "$memory" "$1/memory.memsw.limit_in_bytes"
            fi
            ;;
        cpu)
            if is_unified; then
                put "$cpu $period" "$1/cpu.max"
            else
                put $period "$1/cpu.cfs_period_us"
                put "$cpu" "$1/cpu.cfs_quota_us"
            fi
            ;;
    esac
    # 0 is the writer.
    put 0 "$1/cgroup.procs"
}

shift 3
if [ $step = enter ]; then
    if [ -d /run/systemd/system ]; then by_systemd "$@"; fi
    by_hand
fi
verify
exec "$@"
