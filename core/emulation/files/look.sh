# What emulates foreign programs on this host, and what could: a word that says what the line is, then its content.
set -euo pipefail
shopt -s nullglob
handlers=/proc/sys/fs/binfmt_misc
state=/var/lib/buildfleet-emulation

printf 'machine %s\n' "$(uname -m)"
printf 'boot %s\n' "$(cat /proc/sys/kernel/random/boot_id)"
# machine-id(5) stays when a host's name changes, but copies of a disk share it: the board's own number tells those apart. Only a
# hash leaves the host, as the manual asks.
id=$(cat /etc/machine-id 2>/dev/null || true)
if [ -n "$id" ] && [ "$id" != uninitialized ]; then
    board=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null || tr -d '\0' 2>/dev/null </sys/firmware/devicetree/base/serial-number || true)
    printf 'identity %s\n' "$(printf 'buildfleet emulation %s %s' "$id" "$board" | sha256sum | cut -d' ' -f1)"
fi
for file in "$handlers"/*; do
    name=${file##*/}
    case $name in register | status) continue ;; esac
    printf 'handler %s\n' "$name"
    sed 's/^/  /' "$file"
done
for file in /usr/lib/binfmt.d/*.conf /usr/local/lib/binfmt.d/*.conf /run/binfmt.d/*.conf /etc/binfmt.d/*.conf; do
    while IFS= read -r line || [ -n "$line" ]; do
        interpreter=$(cut -d: -f7 <<<"$line")
        case $file in
            */buildfleet-*) printf 'kept %s\n' "$line" ;;
            *) [ ! -x "$interpreter" ] || printf 'offered %s\n' "$line" ;;
        esac
    done < <(grep '^:' "$file" || true)
done
for file in "$state"/*/*; do
    printf 'user %s %s\n' "$(basename "$(dirname "$file")")" "${file##*/}"
done
