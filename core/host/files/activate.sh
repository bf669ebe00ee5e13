#!/bin/bash
# Takes over what was written to /etc/systemd/system: starts it now, and at every boot. Run twice, it changes nothing.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Started before it is enabled, which has systemd read all its units again: that costs a boot time, and nothing waits for it.
read -ra units <<<"${UNITS:?}"
systemctl start --no-block "${units[@]}" || { systemctl daemon-reload && systemctl start --no-block "${units[@]}"; }
systemctl --quiet enable "${units[@]}"
