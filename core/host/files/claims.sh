# shellcheck shell=bash
# Goes before look.sh and apply.sh: what the builders of this machine have, a fact a line, always in the same order. Changes nothing.
shopt -s extglob nullglob

# Who manages this builder, and the others: folder, port, network of the build steps, owner. A rootless one's network is its own. One
# that is being changed has two lines: what it has, and what it is to have.
claims() {
    local folder owner network port
    {
        [ ! -e /etc/buildfleet/owner ] || printf 'owner %s\n' "$(cat /etc/buildfleet/owner)"
        for folder in /etc/buildfleet?(_*); do
            # Without an owner it is no builder, or has just been removed.
            if [ "$folder" = /etc/buildfleet ] || ! owner=$(cat "$folder/owner" 2>/dev/null); then continue; fi
            network=$(sed -n "s/^BRIDGE_SUBNET='\(.*\)'$/\1/p" "$folder/host.env" 2>/dev/null || true)
            ! grep -q -s '^ROOTLESS_USER=' "$folder/host.env" || network=
            port=$(sed -n 's/^PORT=//p' "/usr/local/libexec/${folder#/etc/}/lib.sh" 2>/dev/null || true)
            printf 'neighbour %s %s %s %s\n' "$folder" "${port:--}" "${network:--}" "$owner"
            ! read -r port network 2>/dev/null <"$folder/.state/claim" ||
                printf 'neighbour %s %s %s %s\n' "$folder" "$port" "$network" "$owner"
        done
    } | LC_ALL=C sort -u
}
