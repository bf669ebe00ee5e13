/**
 * For bash: what a builder could leave on a machine besides files and processes: units, devices, firewall, mounts, listeners.
 *
 * @param units arguments of the grep that picks units: those that come and go by themselves are no trace
 */
export const machineTrace = (units: string) => `
    set -o errexit -o pipefail
    # A systemd that is slow to answer would be one without units.
    export SYSTEMD_BUS_TIMEOUT=300s
    find /run -mindepth 1 -maxdepth 1 -not -name utmp -printf '%p %m %y\\n' | sort
    systemctl list-units --all --plain --no-legend --no-pager --type=service,timer,slice,path,socket |
        awk '{ print $1, $2, $3 }' | { grep ${units} || true; } | sort
    systemctl list-unit-files --no-legend --no-pager --state=enabled | sort
    ip -brief link | awk '{ print $1 }' | sort
    for tables in iptables ip6tables; do for table in filter nat mangle; do
        $tables --wait --table $table --list-rules | sed "s/^/$tables $table /"
    done; done
    cat /proc/sys/net/ipv4/ip_forward
    awk '{ print $5 }' /proc/self/mountinfo | sort
    ss -H -l -t -n | awk '{ print $4 }' | sort
`;
